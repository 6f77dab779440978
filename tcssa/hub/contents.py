"""Files of a model on the hub: which may be there, and the checksums that they are held against."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from tcssa.errors import HubError
from tcssa.files.checksums import file_sha256
from tcssa.files.names import InnerPath
from tcssa.files.text import read_model

CARD_FILE = "README.md"
CHECKSUMS_FILE = "checksums.json"
SUFFIXES = (".safetensors", ".json", ".onnx", ".onnx.data")
"""Numbers and plain data; no pickle is written or taken, as to read one is to run it."""
_UNREAD = (CARD_FILE, ".gitattributes")
"""Files that tcssa does not read, and that people and the hub edit: they have no checksum."""
_SCHEMA_VERSION = 1


class Checksums(BaseModel):
    """The content of ``checksums.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: int = _SCHEMA_VERSION
    tcssa_version: str
    files: dict[InnerPath, str]
    """SHA-256 of each file, by its path."""


def require_taken(names: Iterable[str], address: object) -> None:
    """Require that all files of a repository are of a kind that is taken.

    Args:
        names: Paths of the files in the repository.
        address: Where they are, for the error.

    Raises:
        HubError: One is of another kind.
    """
    for name in names:
        if not name.endswith(SUFFIXES) and name not in _UNREAD:
            raise HubError(
                address,
                f"holds {name}, and models on the hub are taken as safetensors, JSON and ONNX only",
                hint="ask whoever pushed it to push a run, an artefact or a compressor with "
                "tcssa push",
            )


def read_checksums(folder: Path, address: object) -> Checksums:
    """Read a model's checksums.

    Args:
        folder: The folder that the model was copied to.
        address: Where it is from, for errors.

    Raises:
        HubError: There are none, they are damaged, or of another version.
    """
    path = folder / CHECKSUMS_FILE
    if not path.is_file():
        raise HubError(
            address,
            f"is no model of tcssa (no {CHECKSUMS_FILE})",
            hint="push one with tcssa push",
        )
    found = read_model(path, HubError, Checksums)
    if found.schema_version != _SCHEMA_VERSION:
        raise HubError(
            address,
            f"has schema version {found.schema_version}, this tcssa reads {_SCHEMA_VERSION}",
            hint="use the tcssa version that pushed it",
        )
    return found


def verify(folder: Path, address: object) -> list[str]:
    """Hold every file of a model against its checksum.

    Args:
        folder: The folder that the model was copied to.
        address: Where it is from, for errors.

    Returns:
        Paths of the files that belong to the model, with ``checksums.json``.

    Raises:
        HubError: A file is missing, altered, or was not pushed with the others.
    """
    listed = read_checksums(folder, address).files
    require_taken(listed, address)
    for name, sha256 in listed.items():
        if not (folder / name).is_file():
            raise HubError(address, f"lacks {name}", hint="pull it again, or another revision")
        if file_sha256(folder / name) != sha256:
            raise HubError(
                address,
                f"{name} is not the file that was pushed (another SHA-256)",
                hint=f"if the copy here was damaged, delete {folder} and try again; otherwise take "
                "another revision, or ask whoever pushed it",
            )
    names = {
        PurePosixPath(path.relative_to(folder)).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }
    others = sorted(names - set(listed) - {CHECKSUMS_FILE, *_UNREAD})
    if others:
        raise HubError(
            address,
            f"{others[0]} was not pushed with the model: {CHECKSUMS_FILE} does not list it",
            hint="take another revision, or ask whoever pushed it",
        )
    return [*listed, CHECKSUMS_FILE]
