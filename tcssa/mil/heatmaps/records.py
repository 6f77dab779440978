"""Records of slides: the prediction, and what a slide's files were made from."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tcssa.errors import FileError
from tcssa.files import atomic
from tcssa.files.text import read_model


class Record(BaseModel):
    """One slide's record; it is written after the files that it speaks of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slide_id: str
    made_from: str
    """Hash of the model and the features."""
    num_patches: int
    scheme: str
    logits: list[float]
    predicted: list[float]
    """The numbers that the task makes of the logits."""
    leading: list[str]
    """The quantities that the prediction rests on."""
    compared: dict[str, float] = {}
    """What the evidence for a class is compared with: evidence sums to the slide's quantity minus
    this mean of other slides."""
    drawn_from: str | None = None
    """Hash of what the pictures depend on; None before they are drawn."""
    pictures: list[str] = []
    """Files that were drawn, relative to the folder."""
    on_slide: bool = True
    """Whether the map is on a picture of the slide, not on the grid of its patches."""

    def write(self, path: Path) -> None:
        """Write the record, atomically."""
        atomic.write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Read a record; None where there is none, or it is damaged and is to be made again."""
        if not path.is_file():
            return None
        try:
            return read_model(path, FileError, cls)
        except FileError:
            return None
