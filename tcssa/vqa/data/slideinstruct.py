"""Conversations about slides, as SlideInstruct and SlideChat store them.

A JSON list of ``{"id", "image": ["./BLCA/TCGA-….csv"], "conversations": [{"from", "value"}]}``.
Captions (stage 1) and question answering (stage 2) come in this form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import TableError
from tcssa.files.text import read_json
from tcssa.vqa.conversation import IMAGE_MARK, Conversation, Role, Turn
from tcssa.vqa.data.faults import (
    EMPTY_ANSWER,
    EMPTY_QUESTION,
    MALFORMED,
    REPEATED_ID,
    Fault,
    FaultError,
)

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


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
        TableError: The file cannot be read, or is not a JSON list.
    """
    content = read_json(path, TableError, top=list)
    result = ReadResult(path, [], num_rows=len(content))
    seen: set[str] = set()
    for number, row in enumerate(content, start=1):
        try:
            conversation = _conversation(row, number, path)
        except FaultError as error:
            result.row_faults.append(error.fault)
            continue
        if conversation.row_id in seen:
            detail = f"the id {conversation.row_id!r} appears twice"
            result.row_faults.append(Fault(number, REPEATED_ID, detail, left_out=False))
        seen.add(conversation.row_id)
        result.conversations.append(conversation)
    return result


def _conversation(row: Any, number: int, path: Path) -> Conversation:
    """Parse one row; raise `FaultError` if it cannot be used."""
    if not isinstance(row, dict):
        raise FaultError(number, MALFORMED, f"is a {type(row).__name__}, not an object")
    images = row.get("image")
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], str):
        raise FaultError(number, MALFORMED, f"'image' must name one slide, found {images!r}")
    said = row.get("conversations")
    if not isinstance(said, list) or not said:
        raise FaultError(number, MALFORMED, "has no conversations")
    row_id = number if row.get("id") is None else row["id"]
    if not isinstance(row_id, str | int):
        raise FaultError(
            number, MALFORMED, f"'id' must be text or a whole number, found {row_id!r}"
        )
    turns = [_turn(turn, number) for turn in said]
    spoken = turns[1:] if turns[0].role == "system" else turns
    expected: list[Role] = ["user", "assistant"]
    if len(spoken) % 2 or any(t.role != expected[i % 2] for i, t in enumerate(spoken)):
        roles = ", ".join(turn.role for turn in turns)
        raise FaultError(number, MALFORMED, f"user and assistant must take turns, found {roles}")
    if any(not t.text.replace(IMAGE_MARK, "").strip() for t in spoken if t.role == "user"):
        raise FaultError(number, EMPTY_QUESTION, "a question is empty")
    if any(not turn.text.strip() for turn in spoken if turn.role == "assistant"):
        raise FaultError(number, EMPTY_ANSWER, "an answer is empty")
    return Conversation(
        row_id=str(row_id),
        slide=images[0],
        turns=tuple(turns),
        source=f"{path.name}, row {number}",
    )


def _turn(turn: Any, number: int) -> Turn:
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        raise FaultError(number, MALFORMED, "a turn has no text 'value'")
    speaker = turn.get("from")
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise FaultError(number, MALFORMED, f"a turn is from {speaker!r}")
    return Turn(_ROLES[speaker], turn["value"])
