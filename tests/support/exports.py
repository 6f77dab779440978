"""Exports of the factories' compressor, alone and with a head, each made once a session."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_compressor
from made_once import made_once

from tcssa.compressor import save_compressor
from tcssa.files.checksums import params_hash
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.classifier.slot_pool import PoolName
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa_exporters import export_compressor, export_model, open_source

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
        options = _but_defaults(options)

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


CHECKPOINT, PROJECTOR = "checkpoint.safetensors", "projector.safetensors"


def exports_with_head_of(factory: pytest.TempPathFactory) -> Exported:
    """What gives a folder with an artefact of `make_compressor` and a head, and their checkpoints.

    The head is a classifier of ``x``, ``y`` and ``z`` where a pool is named, else a projector to 12
    numbers. Nothing in the folder is to be written to.
    """

    def exported(*, pool: PoolName | None = None, head_dim: int = 8, **options: Any) -> Path:
        options = _but_defaults(options)

        def make(folder: Path) -> None:
            if pool is None:
                write_projector(folder)
                source = open_source(folder / CHECKPOINT, "projector", projector=folder / PROJECTOR)
            else:
                config = ClassifierConfig(classes=["x", "y", "z"], head_dim=head_dim, pool=pool)
                compressor = make_compressor(salience=pool == "mass")
                SlideClassifier(compressor, config).save(folder / CHECKPOINT)
                source = open_source(folder / CHECKPOINT, "classifier")
            export_model(source, folder / "artefact", **options)

        name = f"head-{params_hash({**options, 'pool': pool, 'head_dim': head_dim})}"
        return made_once(factory, name, make)

    return exported


def write_projector(folder: Path) -> Projector:
    """Write `make_compressor` and a projector of its slots to 12 numbers; the projector."""
    save_compressor(make_compressor(), folder / CHECKPOINT)
    torch.manual_seed(0)
    projector = Projector(ProjectorConfig(feature_dim=16, hidden_dim=8, token_dim=12)).eval()
    projector.save(folder / PROJECTOR)
    return projector


def _but_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options but those that change nothing: an export that states them is the same one."""
    defaults = {"precision": "fp32", "graph": "full"}
    return {name: value for name, value in options.items() if defaults.get(name) != value}
