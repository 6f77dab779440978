"""Answers on disk as they come: one JSON line a question, below a header.

The header says whose answers these are. A process killed at any instant leaves at most one
unfinished line, which is dropped when the file is opened again; what it lost is asked once more.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tcssa import atomic
from tcssa.checksums import params_hash
from tcssa.errors import DiskFullError, RunError

SCHEMA_VERSION = 2
"""1 called ``option_mass`` otherwise."""


class AnswerLog:
    """The answers of one evaluation; use it as a context manager.

    Args:
        path: The file; begun if it is not there.
        made_from: What decides the answers, JSON-able: model, benchmark, features, method.
        overwrite: Begin anew, whatever is there.

    Raises:
        RunError: The file holds answers that were made from something else; it names what.
    """

    def __init__(
        self, path: Path, made_from: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = path
        self.done: dict[str, dict[str, Any]] = {}
        """The answers there are, by ``row_id``."""
        header = {
            "tcssa_answers": SCHEMA_VERSION,
            "settings_hash": params_hash(made_from),
            "made_from": json.loads(json.dumps(made_from, default=str)),
        }
        lines = [] if overwrite else self._read()
        if lines:
            self._check(lines[0], header)
            self.done = {str(line["row_id"]): line for line in lines[1:]}
        else:
            atomic.write_text(path, json.dumps(header) + "\n")
        self._file = path.open("a", encoding="utf-8")

    def append(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Add answers, each with its ``row_id``, and wait until they are on the disk.

        Raises:
            DiskFullError: There is no space left.
        """
        text = "".join(json.dumps(answer) + "\n" for answer in answers)
        try:
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(self.path) from None
            raise
        self.done |= {str(answer["row_id"]): dict(answer) for answer in answers}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _read(self) -> list[dict[str, Any]]:
        """The whole lines; what comes after the last line break is cut off the file."""
        if not self.path.is_file():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            return [dict(json.loads(line)) for line in whole.splitlines()]
        except ValueError as error:
            raise RunError(
                self.path, f"is damaged ({error})", hint="delete it, or give --overwrite"
            ) from None

    def _check(self, found: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        version = found.get("tcssa_answers")
        if version != SCHEMA_VERSION:
            what = "is no file of answers" if version is None else "is of another version of tcssa"
            raise RunError(self.path, what, hint="give another --out, or --overwrite to begin anew")
        if found.get("settings_hash") == header["settings_hash"]:
            return
        before, now = dict(found.get("made_from") or {}), header["made_from"]
        changed = sorted(k for k in before | now if before.get(k) != now.get(k))
        raise RunError(
            self.path,
            f"holds answers that were made from something else: {', '.join(changed)} changed",
            hint="give another --out, or --overwrite to begin anew",
        )
