"""The artefact: the unit that is deployed.

A folder with the model file and ``artefact.json``, which holds all that a runtime needs to know.
Exporters write it, runtimes read it, and neither knows the other. It holds no time stamp: the
same checkpoint and options give the same bytes, up to TensorRT, whose plans differ between builds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self

from pydantic import model_validator

from tcssa.artefact.records import ArtefactRecord
from tcssa.artefact.tensors import require_one_model, require_small
from tcssa.errors import ArtefactError
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256
from tcssa.files.text import read_model

MANIFEST_FILE = "artefact.json"


class Artefact(ArtefactRecord):
    """A model that is deployed: a folder whose ``artefact.json`` is consistent."""

    @model_validator(mode="after")
    def _require_one_model(self) -> Self:
        require_one_model(self)
        return self

    @property
    def sha256(self) -> str:
        """Hash of all model files: tells which model made a result."""
        joined = " ".join(f"{name} {model.sha256}" for name, model in sorted(self.models.items()))
        return hashlib.sha256(joined.encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path, *, check: bool = True) -> Self:
        """Read an artefact and check that its model files are the ones it was made with.

        Args:
            folder: The artefact's folder.
            check: Whether to compare the hashes of the files.

        Raises:
            ArtefactError: The folder is no artefact, its ``artefact.json`` is not valid,
                contradicts itself or exceeds a limit, or a file is missing or altered.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            raise ArtefactError(
                folder, f"is no artefact (no {MANIFEST_FILE})", hint="make one: tcssa export"
            )
        artefact = read_model(path, ArtefactError, cls)
        require_small(artefact, path)
        files: dict[str, str] = {}
        for model in artefact.models.values():
            files |= {model.file: model.sha256, **model.data_files}
        for name, sha256 in files.items():
            if not (folder / name).is_file():
                raise ArtefactError(folder / name, "the artefact's model file is missing")
            if check and file_sha256(folder / name) != sha256:
                raise ArtefactError(
                    folder / name,
                    "is not the file the artefact was made with",
                    hint="export it again",
                )
        return artefact

    def write(self, folder: Path) -> None:
        """Write ``artefact.json``, the last of the files: it makes the folder an artefact."""
        atomic.write_text(folder / MANIFEST_FILE, self.model_dump_json(indent=2) + "\n")


def is_artefact(path: Path) -> bool:
    """Tell whether a path is the folder of an artefact."""
    return (path / MANIFEST_FILE).is_file()
