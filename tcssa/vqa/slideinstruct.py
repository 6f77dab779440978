"""Conversations about slides, as SlideInstruct and SlideChat store them.

A JSON list of ``{"id", "image": ["./BLCA/TCGA-….csv"], "conversations": [{"from", "value"}]}``.
Captions (stage 1) and question answering (stage 2) come in this form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tcssa.vqa.conversation import Conversation
from tcssa.vqa.faults import Fault


@dataclass(frozen=True)
class ReadResult:
    """The conversations of a file, and what is wrong with the rest."""

    path: Path
    conversations: list[Conversation]
    row_faults: list[Fault] = field(default_factory=list)
    num_rows: int = 0
    """Rows of the file, whether used or not."""

    @property
    def faults(self) -> list[str]:
        """All faults, a line each, with their row."""
        return [str(fault) for fault in self.row_faults]


def read_conversations(path: Path) -> ReadResult:
    """Read conversations; faulty rows are left out, and every fault is listed.

    Raises:
        TableError: The file cannot be read, or is no list of conversations.
    """
    raise NotImplementedError
