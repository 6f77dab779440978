"""Conversations about slides, as SlideInstruct, SlideChat and LLaVA store them, and as messages.

A JSON list, or a line each, of ``{"id", "image": ["./BLCA/TCGA-….csv"], "conversations": [{"from",
"value"}]}``, or of ``{"images": ["…"], "messages": [{"role", "content"}]}``, whose content is text
or a list of parts, text and images. Several images are slides that a row is about together.
Captions (stage 1) and question answering (stage 2) come in these forms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcssa.errors import TableError
from tcssa.files.text import lines_of, parse_json, read_json, read_text
from tcssa.vqa.conversation import IMAGE_MARK, Conversation, Role, Turn, marks_fit
from tcssa.vqa.data.faults import (
    EMPTY_ANSWER,
    EMPTY_QUESTION,
    MALFORMED,
    REPEATED_ID,
    Fault,
    FaultError,
    slides_named,
)
from tcssa.vqa.settings import SeveralSlides

_BY_LINE = (".jsonl", ".ndjson")
_IMAGE = "image"
"""Type of a part, and its field that names the slide."""
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


def read_conversations(path: Path, several: SeveralSlides = "error") -> ReadResult:
    """Read conversations; faulty rows are left out, and every fault is listed.

    Args:
        path: A JSON list; or an object a line, if it is named ``.jsonl`` or ``.ndjson``.
        several: What to do with rows about several slides.

    Raises:
        TableError: The file cannot be read, or is not a JSON list.
    """
    by_line = path.suffix.lower() in _BY_LINE
    rows = _lines(path) if by_line else read_json(path, TableError, top=list)
    result = ReadResult(path, [], num_rows=len(rows))
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        try:
            parsed = _parsed(row, number, path) if by_line else row
            conversation = _conversation(parsed, number, path, several)
        except FaultError as error:
            result.row_faults.append(error.fault)
            continue
        if conversation.row_id in seen:
            detail = f"the id {conversation.row_id!r} appears twice"
            result.row_faults.append(Fault(number, REPEATED_ID, detail, left_out=False))
        seen.add(conversation.row_id)
        result.conversations.append(conversation)
    return result


def _lines(path: Path) -> list[str]:
    return [line for line in lines_of(read_text(path, TableError)) if line.strip()]


def _parsed(line: str, number: int, path: Path) -> Any:
    try:
        return parse_json(line, path, TableError, top=dict)
    except TableError as error:
        raise FaultError(number, MALFORMED, error.reason) from None


def _conversation(row: Any, number: int, path: Path, several: SeveralSlides) -> Conversation:
    """Parse one row; raise `FaultError` if it cannot be used."""
    if not isinstance(row, dict):
        raise FaultError(number, MALFORMED, f"is a {type(row).__name__}, not an object")
    lists = [name for name in ("conversations", "messages") if row.get(name) is not None]
    said = row[lists[0]] if lists else None
    if len(lists) > 1 or not isinstance(said, list) or not said:
        what = "both conversations and messages" if len(lists) > 1 else "no conversations"
        raise FaultError(number, MALFORMED, f"has {what}")
    row_id = number if row.get("id") is None else row["id"]
    if not isinstance(row_id, str | int):
        raise FaultError(
            number, MALFORMED, f"'id' must be text or a whole number, found {row_id!r}"
        )
    slides = slides_named(_images(row, said, number), number, _IMAGE, several)
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
    num_marks = sum(turn.text.count(IMAGE_MARK) for turn in spoken if turn.role == "user")
    if not marks_fit(num_marks, len(slides)):
        detail = (
            f"has {num_marks} {IMAGE_MARK} for {len(slides)} slides; write one for each slide, one "
            "for all of them, or none"
        )
        raise FaultError(number, MALFORMED, detail)
    return Conversation(
        row_id=str(row_id),
        slides=slides,
        turns=tuple(turns),
        source=f"{path.name}, row {number}",
    )


def _images(row: dict[str, Any], said: list[Any], number: int) -> list[Any]:
    """Return the slides that a row names, beside its turns or in parts of the user's."""
    beside: list[Any] = []
    for name in ("image", "images"):
        images = row.get(name)
        beside += [] if images is None else images if isinstance(images, list) else [images]
    within: list[Any] = []
    for turn in said:
        parts = _image_parts(turn)
        role = turn.get("from", turn.get("role")) if parts else "user"
        if _ROLES.get(str(role)) in ("assistant", "system"):
            detail = f"has a slide in a turn from {role!r}; slides stand in what the user says"
            raise FaultError(number, MALFORMED, detail)
        within += [part[_IMAGE] for part in parts if _IMAGE in part]
    if beside and within and beside != within:
        detail = (
            f"names {beside!r} beside its turns and {within!r} in them; name its slides in one "
            "place"
        )
        raise FaultError(number, MALFORMED, detail)
    return beside or within


def _image_parts(turn: Any) -> list[dict[str, Any]]:
    """Return the parts of a turn that stand for a slide."""
    content = turn.get("content") if isinstance(turn, dict) else None
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict) and part.get("type") == _IMAGE]


def _turn(turn: Any, number: int) -> Turn:
    """Read a turn: ``from`` and ``value``, or ``role`` and ``content``."""
    if not isinstance(turn, dict) or ("value" in turn and "content" in turn):
        raise FaultError(number, MALFORMED, "a turn has no text 'value' or 'content', or both")
    text = _text(turn.get("value", turn.get("content")))
    if text is None:
        raise FaultError(number, MALFORMED, "a turn has no text 'value' or 'content'")
    speaker = turn.get("from", turn.get("role"))
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise FaultError(number, MALFORMED, f"a turn is from {speaker!r}")
    return Turn(_ROLES[speaker], text)


def _text(content: Any) -> str | None:
    """Return a turn's text, its parts put together; None if there are parts of other kinds."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in content if isinstance(content, list) else ():
        said = part if isinstance(part, dict) else {}
        text = {_IMAGE: IMAGE_MARK, "text": said.get("text")}.get(str(said.get("type")))
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts) if texts else None
