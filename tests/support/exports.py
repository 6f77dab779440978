"""Exports of the factories' compressor, each made once a session."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from factories import make_compressor
from made_once import made_once

from tcssa.files.checksums import params_hash
from tcssa_exporters import export_compressor

Exported = Callable[..., Path]


def exports_of(factory: pytest.TempPathFactory) -> Exported:
    """What gives the artefact of ``make_compressor()`` by the options of its export.

    The artefact is not to be written to. Tests of the export itself make their own.
    """

    def exported(
        *,
        salience: bool = False,
        nested: bool = False,
        spatial: bool = False,
        embedding: Mapping[str, int] | None = None,
        **options: Any,
    ) -> Path:
        shape = {"salience": salience, "nested": nested, "spatial": spatial, **(embedding or {})}

        def make(folder: Path) -> None:
            export_compressor(
                make_compressor(num_slots=8 if nested else 6, **shape),
                folder / "artefact",
                checkpoint_sha256="c0ffee",
                encoder="test_encoder",
                **options,
            )

        name = f"export-{params_hash({**options, **shape})}"
        return made_once(factory, name, make) / "artefact"

    return exported
