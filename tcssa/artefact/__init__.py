"""The artefact: a folder with a model and what it says of itself."""

from tcssa.artefact.artefact import MANIFEST_FILE, Artefact, is_artefact
from tcssa.artefact.records import (
    Format,
    Graph,
    ModelFile,
    Parity,
    ParityRow,
    PatchRange,
    TensorSpec,
    What,
)

__all__ = [
    "MANIFEST_FILE",
    "Artefact",
    "Format",
    "Graph",
    "ModelFile",
    "Parity",
    "ParityRow",
    "PatchRange",
    "TensorSpec",
    "What",
    "is_artefact",
]
