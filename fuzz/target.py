"""One reader, with all that is needed to damage what it reads and to judge what it returns."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Literal

import tcssa
from fuzz.digest import digest
from fuzz.folders import write_folder
from fuzz.mutations.octets import mutate_octets
from tcssa.errors import MAX_CHARACTERS, FileError, TcssaError

Mutate = Callable[[Random, bytes], bytes]
"""From a source of chance and a valid file to a damaged one."""
Oracle = Callable[[Path, Any], str | None]
"""Reads a file in another way, and says what is wrong with the data that the reader returned.

An exception means that the file is refused.
"""
_OURS = Path(tcssa.__file__).parents[1]
_FUZZ = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """The end of one reading.

    Attributes:
        kind: ``fault`` where the reader did what it never should.
        key: Equal for outcomes of the same cause.
        detail: One line for people; of data its digest.
    """

    kind: Literal["read", "refused", "fault"]
    key: str
    detail: str


@dataclass(frozen=True)
class Target:
    """A reader of one kind of file.

    Attributes:
        name: As the command line calls it.
        suffix: Ends the name of the file; of a folder's too.
        make_seeds: Makes valid files; a folder's are packed by `fuzz.folders`.
        read: The reader; it returns plain data, arrays and tensors.
        errors: What it may raise.
        mutate: Damages a file.
        oracle: Judges what was read.
        is_folder: Whether an input is a folder.
        covered: Modules whose code atheris follows; without any, the target is not for atheris.
    """

    name: str
    suffix: str
    make_seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path], Any]
    errors: tuple[type[TcssaError], ...] = (FileError,)
    mutate: Mutate = mutate_octets
    oracle: Oracle | None = None
    is_folder: bool = False
    covered: tuple[str, ...] = ()

    @cached_property
    def seeds(self) -> list[bytes]:
        """Valid files, the same in each run."""
        return list(self.make_seeds())

    def input_of(self, seed: int, number: int) -> bytes:
        """Make one damaged input; it follows from the seed and its number."""
        rng = Random(f"{self.name} {seed} {number}")
        return self.mutate(rng, rng.choice(self.seeds))

    def place(self, folder: Path, content: bytes) -> Path:
        """Write an input where the reader finds it."""
        path = folder / f"input{self.suffix}"
        if self.is_folder:
            write_folder(path, content)
        else:
            path.write_bytes(content)
        return path

    def judge(self, path: Path, known: frozenset[str] = frozenset()) -> Outcome:
        """Read a file and say how it ended.

        Args:
            path: The file.
            known: Digests of the data in undamaged files, which is right whatever an oracle says.
        """
        try:
            data = self.read(path)
        except TcssaError as error:
            return self._judge_refusal(path, error)
        except MemoryError as error:
            return Outcome("fault", f"MemoryError {innermost(error)}", "takes over 1 GB of memory")
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            key = f"{type(error).__name__} {innermost(error)}"
            return Outcome("fault", key, " ".join(said.split())[:200])
        return self._judge_data(path, data, known)

    def _judge_data(self, path: Path, data: Any, known: frozenset[str]) -> Outcome:
        found = digest(data)
        if self.oracle is None or found in known:
            return Outcome("read", "read", found)
        try:
            wrong = self.oracle(path, data)
        except Exception as error:  # whatever another library raises means that it refuses the file
            said = shape_of(f"{type(error).__name__}: {error}")
            detail = f"was read, and the oracle refuses it ({said})"
            return Outcome("fault", f"oracle refuses: {said}", detail)
        if wrong is not None:
            return Outcome("fault", f"other data: {shape_of(wrong)}", f"other data: {wrong}")
        return Outcome("read", "read", found)

    def _judge_refusal(self, path: Path, error: TcssaError) -> Outcome:
        said, kind = str(error), type(error).__name__
        shape = shape_of(said.replace(str(path), "PATH"))
        if not isinstance(error, self.errors):
            return Outcome(
                "fault", f"type {kind} {innermost(error)}", f"wrong type: {kind}: {said}"
            )
        if len(said) > MAX_CHARACTERS or not said.isprintable():
            return Outcome("fault", f"message {kind} {shape}", f"not one short line: {said!r}")
        if path.name not in said:
            return Outcome("fault", f"unnamed {kind} {shape}", f"does not name the file: {said}")
        return Outcome("refused", f"{kind}: {shape}", kind)


def shape_of(message: str) -> str:
    """Reduce a message to what is equal in all messages of its kind."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)", "…", message)
    return re.sub(r"[-+]?\d[\d.,e+-]*", "#", " ".join(plain.split()))[:80]


def innermost(error: BaseException) -> str:
    """Name the innermost line of ours in an exception's traceback."""
    frames = [
        f"{Path(frame.filename).relative_to(_OURS)}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_OURS)
        and not Path(frame.filename).is_relative_to(_FUZZ)
    ]
    return frames[-1] if frames else "outside"
