"""Answers written to disk as they come: a header, then one JSON line per question.

The header says what the answers were made from. A process killed at any instant leaves at most one
unfinished line, which is dropped when the file is opened again; its question is asked once more.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from tcssa.config.settings import section_of
from tcssa.errors import DiskFullError, RunError
from tcssa.files import atomic
from tcssa.files.boundary import reading, require_file
from tcssa.files.checksums import params_hash
from tcssa.files.text import decoded, first_fault, lines_of, parse_json
from tcssa.vqa.answering.answer_record import AnswerRecord
from tcssa.vqa.conversation import Question

ANSWERS_FILE = "answers.jsonl"
SCHEMA_VERSION = 2
"""Version 1 had another name for ``option_mass``."""
_ASK_AGAIN = "delete the file, or give --overwrite to ask everything again"


def read_answer_log(path: Path) -> list[AnswerRecord]:
    """Read the answers of an evaluation, as they were given.

    Raises:
        RunError: The file is missing, unfinished or damaged, or of another version.
    """
    require_file(path, RunError)
    with reading(path, RunError):
        text = decoded(path.read_bytes(), path, RunError)
    header, *lines = [
        parse_json(line, path, RunError, top=dict, line=number)
        for number, line in enumerate(lines_of(text), start=1)
    ] or [{}]
    if header.get("tcssa_answers") != SCHEMA_VERSION:
        raise RunError(path, "is no file of answers of this version of tcssa")
    return [_record(path, line, number) for number, line in enumerate(lines, start=2)]


def _record(path: Path, line: Mapping[str, Any], number: int) -> AnswerRecord:
    try:
        return AnswerRecord.model_validate(line)
    except ValidationError as fault:
        reason = f"line {number} is no answer: {first_fault(fault)}"
        raise RunError(path, reason, hint=_ASK_AGAIN) from None


class AnswerLog:
    """The answers of one evaluation; use it as a context manager.

    Args:
        path: The file; created if it does not exist.
        made_from: All that the answers depend on, JSON-able: model, benchmark, features, method.
        overwrite: Start afresh, whatever the file holds.

    Raises:
        RunError: The file holds answers made from something else; the error names what changed.
    """

    def __init__(
        self, path: Path, made_from: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = path
        self.done: dict[str, AnswerRecord] = {}
        """The answers so far, by ``row_id``."""
        header = {
            "tcssa_answers": SCHEMA_VERSION,
            "settings_hash": params_hash(made_from),
            "made_from": json.loads(json.dumps(made_from, default=str)),
        }
        found = None if overwrite else self._read()
        if found is not None:
            self._check(found[0], header)
            self.done = {record.row_id: record for record in found[1]}
            header = found[0]  # it may be of an older version, which named more
        else:
            atomic.write_text(path, json.dumps(header) + "\n")
        self._header = header
        self._file = path.open("a", encoding="utf-8")

    def append(self, answers: Sequence[AnswerRecord]) -> None:
        """Add answers, and wait until they are on the disk.

        Raises:
            DiskFullError: No space is left on the disk.
        """
        try:
            self._file.write("".join(answer.line() for answer in answers))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(self.path) from None
            raise
        self.done |= {answer.row_id: answer for answer in answers}

    def put_in_order(self, row_ids: Sequence[str]) -> None:
        """Bring the lines into an order, in whichever they came from several workers.

        Args:
            row_ids: The rows of all lines.
        """
        if list(self.done) == list(row_ids):
            return
        self.done = {row_id: self.done[row_id] for row_id in row_ids}
        lines = [json.dumps(self._header) + "\n", *(each.line() for each in self.done.values())]
        self._file.close()
        atomic.write_text(self.path, "".join(lines))
        self._file = self.path.open("a", encoding="utf-8")

    def records(self, questions: Sequence[Question]) -> list[AnswerRecord]:
        """Return the answers to questions that were all asked, in the order of the questions.

        Raises:
            RunError: An answer belongs to a question with other options.
        """
        found = [self.done[question.row_id] for question in questions]
        for question, record in zip(questions, found, strict=True):
            if not record.fits(len(question.options)):
                reason = f"the answer to row {question.row_id} is one to other options"
                raise RunError(self.path, reason, hint=_ASK_AGAIN)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _read(self) -> tuple[dict[str, Any], list[AnswerRecord]] | None:
        """Read header and answers, and truncate the file after the last line break."""
        if not self.path.exists():
            return None
        require_file(self.path, RunError)
        with reading(self.path, RunError):
            content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if content and not whole:  # the header is never cut, so nothing of ours stands there
            reason = "is no file of answers"
            raise RunError(self.path, reason, hint="give another --out, or --overwrite")
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        text = decoded(whole, self.path, RunError)
        lines = [
            parse_json(line, self.path, RunError, top=dict, line=number)
            for number, line in enumerate(lines_of(text), start=1)
        ]
        if not lines:
            return None
        return lines[0], [
            _record(self.path, line, at) for at, line in enumerate(lines[1:], start=2)
        ]

    def _check(self, found: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        version = found.get("tcssa_answers")
        if version != SCHEMA_VERSION:
            what = "is no file of answers" if version is None else "is of another version of tcssa"
            raise RunError(self.path, what, hint="give another --out, or --overwrite to begin anew")
        if found.get("settings_hash") == header["settings_hash"]:
            return
        before, now = section_of(found, "made_from"), header["made_from"]
        changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
        raise RunError(
            self.path,
            f"holds answers that were made from something else: {', '.join(changed)} changed",
            hint="give another --out, or --overwrite to begin anew",
        )
