"""The feature files of an archive, given as files, folders, patterns, a manifest, a shard."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from tcssa.errors import MissingDataError, TableError, UsageError
from tcssa.features import BagRef, find_bags
from tcssa.features.folder import by_slide
from tcssa.features.lazyslide_store import is_store
from tcssa.files.table import read_table
from tcssa.files.text import lines_of, read_text

PATH_COLUMN = "path"


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of an archive, for job arrays."""

    index: int
    """From 1 to ``count``."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``i/n``.

        Raises:
            UsageError: The text is not ``i/n`` with i from 1 to n.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"a shard is i/n with i from 1 to n, got {text!r}",
                hint="in a job array of 4: --shard 1/4, --shard 2/4, --shard 3/4, --shard 4/4",
            )
        return cls(int(match[1]), int(match[2]))

    def of(self, bags: dict[str, BagRef]) -> dict[str, BagRef]:
        """Return this part, every n-th bag. The parts together are all bags, each once."""
        return dict(islice(bags.items(), self.index - 1, None, self.count))

    @property
    def suffix(self) -> str:
        """Return the suffix for names of files that each shard writes for itself."""
        return f"-{self.index}-of-{self.count}"


def archive(inputs: Iterable[Path], manifest: Path | None = None) -> dict[str, BagRef]:
    """List all feature files of an archive by their slides, sorted.

    Args:
        inputs: Files, folders, and patterns such as ``job/*/S-1*.h5``, for shells that do not
            expand them and for more files than a command line takes.
        manifest: A table of files; see `read_manifest`.

    Raises:
        MissingDataError: A path does not exist, a folder holds no feature file, or a pattern
            matches nothing.
        TableError: The manifest is faulty.
        UsageError: No input was given, or two of the files are of the same slide.
    """
    given = [path for each in inputs for path in _expanded(each)]
    if manifest is not None:
        given += read_manifest(manifest)
    if not given:
        raise UsageError(
            "no features were given", hint="give files or folders, or a table with --manifest"
        )
    return by_slide(find_bags(given), "give one of them, or encode them into different folders")


def read_manifest(manifest: Path) -> list[Path]:
    """Read the paths in a manifest: a CSV with a column ``path``, or text with a path on each line.

    Relative paths are relative to the manifest's folder.

    Raises:
        TableError: The manifest is not text, lists nothing, or lists paths that are missing or
            are folders; all of them are named.
    """
    listed = _listed(manifest)
    if not listed:
        raise TableError(manifest, "lists no file")
    faults = [f"line {line}: {fault}" for line, path in listed.items() if (fault := _fault(path))]
    if faults:
        raise TableError(manifest, faults, hint="mend the paths, or take the rows out")
    return list(listed.values())


def _listed(manifest: Path) -> dict[int, Path]:
    """Return the path on each line, empty where a row of a table has none."""
    if manifest.suffix.lower() == ".csv":
        table = read_table(manifest, needed=[PATH_COLUMN])
        named = {line: row[PATH_COLUMN] for line, row in table.rows.items()}
    else:
        lines = lines_of(read_text(manifest, TableError, table=True))
        named = {n: line.strip() for n, line in enumerate(lines, start=1) if line.strip()}
    return {line: manifest.parent / name if name else Path() for line, name in named.items()}


def _fault(path: Path) -> str | None:
    if path == Path():
        return f"the {PATH_COLUMN} is empty"
    try:
        if path.is_dir() and not is_store(path):
            return f"{path} is a folder, not a file of features"
        return None if BagRef.parse(path).file.exists() else f"{path}: there is no such file"
    except OSError as fault:  # a name that is too long, a folder that is closed
        return f"cannot be looked up ({fault.strerror}): {path}"


def _expanded(path: Path) -> list[Path]:
    """Return a path itself, or the paths that it matches as a pattern."""
    pattern = str(path)
    if path.exists() or not glob.has_magic(pattern):
        return [path]
    # Path.glob takes no absolute pattern
    found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if not found:
        raise MissingDataError(f"{pattern}: nothing matches this pattern")
    return found
