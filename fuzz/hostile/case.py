"""A hostile file and what a reader must make of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A file of the corpus.

    Attributes:
        target: The name of the reader.
        name: A few words on what is wrong with the file.
        content: Its bytes; of a folder packed.
        is_refused: Whether it must be refused; else it must be read, as the oracle does.
        ended_process: Whether it once ended the process, or took all of its memory or time.
    """

    target: str
    name: str
    content: bytes
    is_refused: bool = True
    ended_process: bool = False
