"""Every error the library raises on purpose.

Each carries the facts (path, slide, row, expected, found) as attributes and says them in one
line of at most 300 characters. ``hint`` is the next step; where it is None, ``tcssa_cli.errors``
knows a general one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

MAX_CHARACTERS = 300
"""Longest message of an error; a longer one is kept whole as a note (``--debug``)."""
_MAX_PATH_CHARACTERS = 150
_MAX_HINT_CHARACTERS = 600


def one_line(error: BaseException | str, limit: int = 200) -> str:
    """Put what an error says on one line of printable characters.

    A library's message may contain bytes of a file, whose control characters would reach the
    terminal.

    Args:
        error: The error, or its text.
        limit: Largest number of characters.
    """
    joined = " ".join(str(error).split())
    if len(joined) > limit:
        joined = f"{joined[: limit - 1]}…"
    return printable(joined)


def printable(text: str, *, keep: str = "") -> str:
    """Replace characters that a terminal would obey instead of showing them.

    Args:
        text: Any text.
        keep: Characters that stay, printable or not.
    """
    replacement = "\N{REPLACEMENT CHARACTER}"
    return "".join(mark if mark.isprintable() or mark in keep else replacement for mark in text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number and its noun, as ``1 slide`` or ``2,400 patches``.

    Args:
        number: How many there are.
        noun: The noun in the singular.
        plural: The noun in the plural, if it does not just end with s.
    """
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith(("s", "tch", "x")) else f"{noun}s"


class TcssaError(Exception):
    """Base of all errors that a user can act on.

    Args:
        message: What is wrong and where. It is put on one line of at most `MAX_CHARACTERS`.
        hint: What to do next, in one line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        line = one_line(message, MAX_CHARACTERS)
        super().__init__(line)
        self.hint = None if hint is None else one_line(hint, _MAX_HINT_CHARACTERS)
        if line != message:
            self.add_note(message)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the error as it is: its class may take other arguments than its message."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[TcssaError], args: tuple[object, ...], state: dict[str, object]
) -> TcssaError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(TcssaError):
    """The request itself makes no sense: an option, a setting or a combination of them."""


class UnknownNameError(UsageError):
    """A name that is not in a registry; the nearest known ones are offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(self.known)}"
        super().__init__(f"unknown {kind} {name!r}", hint=hint)


class MissingExtraError(TcssaError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"this needs the package {package!r}, which is not installed",
            hint=f"pip install 'tcssa[{extra}]'",
        )


class BrokenPackageError(TcssaError):
    """An optional package is installed and cannot be imported."""

    def __init__(self, package: str, error: Exception) -> None:
        self.package = package
        reason = one_line(error)
        super().__init__(
            f"the package {package!r} is installed but cannot be imported ({reason})",
            hint="install builds of torch and torchvision that belong together",
        )


class MissingDataError(TcssaError):
    """Files that a command needs are not where it looked for them."""


class DeviceError(TcssaError):
    """The device or runtime that was asked for is not there."""


class FileError(TcssaError):
    """Something is wrong with one file or folder."""

    def __init__(self, path: Path | str, reason: str, *, hint: str | None = None) -> None:
        self.path, self.reason = Path(path), one_line(reason, MAX_CHARACTERS)
        shown = str(path)
        if len(shown) + len(reason) > MAX_CHARACTERS and len(shown) > _MAX_PATH_CHARACTERS:
            shown = f"…{shown[-_MAX_PATH_CHARACTERS:]}"  # the reason must not be what is cut off
        super().__init__(f"{shown}: {reason}", hint=hint)


class SettingsFileError(FileError, UsageError):
    """A file of settings that cannot be read, or that asks for what only the user may ask for."""


class DiskFullError(FileError):
    """No space left; nothing half-written stays behind.

    Args:
        path: The file to be written.
        needed_bytes: Bytes that it needs, where that was known beforehand.
        free_bytes: Bytes that were free.
    """

    def __init__(
        self, path: Path | str, *, needed_bytes: int | None = None, free_bytes: int | None = None
    ) -> None:
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes
        reason = "there is no space left on the disk"
        if needed_bytes is not None and free_bytes is not None:
            reason = f"needs {needed_bytes / 1e9:.2f} GB, and {free_bytes / 1e9:.2f} GB are free"
        super().__init__(
            path,
            reason,
            hint="make room and give the same command again: what was finished is kept",
        )


class UploadError(FileError):
    """A file that an object store does not take, or a store that cannot be used."""


class SlideError(FileError):
    """A slide that cannot be read."""


class MissingMppError(SlideError):
    """A slide that tells neither its resolution nor its objective."""

    def __init__(self, path: Path | str, found: str | None = None) -> None:
        super().__init__(
            path,
            found or "the slide states neither microns per pixel nor an objective power",
            hint="give its level-0 resolution in a column mpp of a --manifest, or with "
            "--fallback-mpp 0.25 for all slides that state none (tcssa ask: --slide-mpp 0.25)",
        )


class FeatureFileError(FileError):
    """A feature file that cannot be read, or whose content makes no sense."""


class FeatureDimError(FeatureFileError):
    """Features of another length than the model or the cohort has."""

    def __init__(self, path: Path | str, expected: int, found: int) -> None:
        self.expected, self.found = expected, found
        super().__init__(
            path,
            f"features have D = {found}, expected D = {expected}",
            hint="use features of one encoder, the one that the model was trained on",
        )


class CheckpointError(FileError):
    """A checkpoint that cannot be read, or does not hold what it should."""


class RunError(FileError):
    """A run directory that is incomplete, or was made by other settings."""


class ArtefactError(FileError):
    """An exported artefact that is broken or does not fit the request."""


class TableError(FileError):
    """A table (labels, manifest) with faults; all of them are listed."""

    def __init__(
        self, path: Path | str, faults: Sequence[str] | str, *, hint: str | None = None
    ) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        shown = "; ".join(self.faults[:5])
        more = f"; and {len(self.faults) - 5} more" if len(self.faults) > 5 else ""
        super().__init__(path, shown + more, hint=hint)


class HubError(FileError):
    """A model on the hub that is not there, or is not the one that was pushed."""

    def __init__(self, path: object, reason: str, *, hint: str | None = None) -> None:
        super().__init__(str(path), reason, hint=hint)


class SplitError(TcssaError):
    """A cohort that cannot be split as asked without a leak or an empty class."""


class DroppedRowsError(TcssaError):
    """Too many rows cannot be used: the training would not be what was asked for."""

    def __init__(self, dropped: int, total: int, allowed: float, reasons: str) -> None:
        self.dropped, self.total, self.allowed = dropped, total, allowed
        left = "no row is left" if dropped == total else f"--max-dropped is {allowed:g}"
        super().__init__(
            f"{dropped} of {total} rows cannot be used and {left}: {reasons or 'there is no row'}",
            hint="skipped.csv in the run directory lists them; mend them, or raise --max-dropped",
        )


class DivergedError(TcssaError):
    """A training whose loss is no longer a number."""


class ProcessesError(TcssaError):
    """One of several processes is gone, or they contradict each other."""


class ShapeError(TcssaError):
    """A tensor whose shape is not one that the model takes."""


class NonFiniteFeatureError(TcssaError):
    """A NaN or an infinity in the features of a real patch.

    Args:
        row: The patch, counted from 0 within its bag.
        bag: The bag, counted from 0 within its batch.
        where: The file or slide that holds it, if known.
    """

    def __init__(self, row: int, *, bag: int | None = None, where: str | None = None) -> None:
        self.row, self.bag, self.where = row, bag, where
        place = where if bag is None else f"bag {bag}"
        super().__init__(
            f"{place + ': ' if place else ''}the features of row {row} are not finite "
            "(NaN or infinity)",
            hint="extract this slide again, or remove the row",
        )


class ParityError(TcssaError):
    """An exported model that does not compute what the checkpoint computes."""


class MissingFeaturesError(TcssaError):
    """A slide that a question file names and that has no feature file.

    Args:
        slide: Its name in the question file.
        place: The folders that were searched.
        near: Feature files of the same barcode and another UUID, or of the same patient.
    """

    def __init__(self, slide: str, place: Path | str, near: Sequence[str] = ()) -> None:
        self.slide, self.place, self.near = slide, place, list(near)
        known = f"; there is {', '.join(self.near[:3])}" if near else ""
        super().__init__(
            f"slide {slide!r} has no feature file in {place}{known}",
            hint="extract its features, or give the folder that holds them",
        )


class AmbiguousFeaturesError(TcssaError):
    """A slide or patient that several feature files could belong to; all are named."""

    def __init__(self, slide: str, candidates: Sequence[Path | str], *, hint: str) -> None:
        self.slide, self.candidates = slide, [str(path) for path in candidates]
        shown = ", ".join(self.candidates[:5])
        more = f" and {len(self.candidates) - 5} more" if len(self.candidates) > 5 else ""
        super().__init__(f"{slide!r} could be any of {shown}{more}", hint=hint)


class RepeatedSlideError(TcssaError):
    """A row about several slides of which two names mean the same."""

    def __init__(self, names: Sequence[str], path: Path | str) -> None:
        super().__init__(
            f"{' and '.join(map(repr, names))} name {path} twice",
            hint="name each slide of a row once",
        )


class TemplateError(TcssaError):
    """A tokenizer or chat template that prompts cannot be built with."""


class PromptError(TcssaError):
    """Turns that are no conversation about a slide."""


class NothingToLearnError(PromptError):
    """A conversation in which the assistant says nothing."""


class TooManyPatchesError(TcssaError):
    """A slide of more patches than a visual encoder shows."""

    def __init__(self, num_patches: int, most: int) -> None:
        self.num_patches, self.most = num_patches, most
        super().__init__(
            f"the slide has {num_patches:,} patches, at most {most:,} are shown",
            hint="raise --max-patches, or use --visual tcssa",
        )


class LlmError(TcssaError):
    """A language model that is not there, or cannot be loaded."""


class EndpointError(TcssaError):
    """A server of a language model that does not answer, or not as it should."""
