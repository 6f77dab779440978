"""Explanations of errors: one line, the next step, and an exit code.

0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from tcssa import errors

_FAILED, _USAGE = 1, 2
_INTERRUPTED = 130
_PLAIN_ERRNOS = {
    errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EROFS,
}  # fmt: skip

_NEXT_STEPS: list[tuple[type[errors.TcssaError], str, int]] = [
    # the first type that fits counts; a hint of the error itself takes precedence over this one
    (errors.UsageError, "tcssa COMMAND --help lists what it takes", _USAGE),
    (errors.MissingDataError, "check the path", _FAILED),
    (errors.SlideError, "open the slide in a viewer; copy it again if it is damaged", _FAILED),
    (errors.FeatureFileError, "extract this slide again", _FAILED),
    (errors.TableError, "correct the table", _FAILED),
    (errors.CheckpointError, "give the checkpoint that training wrote", _FAILED),
    (errors.RunError, "give a finished run directory", _FAILED),
    (errors.ArtefactError, "export it again: tcssa export RUN --format onnx --out DIR", _FAILED),
    (errors.SplitError, "see docs/train-mil.md on how folds are made", _FAILED),
    (errors.ParityError, "nothing was written; please report this with --debug", _FAILED),
    (errors.DeviceError, "tcssa doctor tells what runs here", _FAILED),
]


@dataclass(frozen=True)
class Explanation:
    """Message to the user about an error."""

    error: str
    hint: str | None
    exit_code: int
    is_of_command_line: bool = False
    """True where typer could not read the command line; its traceback would say nothing more."""


INTERRUPTED = Explanation(
    "interrupted", "finished work is kept; run the same command again to go on", _INTERRUPTED
)


def explain(error: BaseException) -> Explanation:
    """Explain an error in one line, with what to do next."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if hasattr(error, "format_message"):  # typer brings its own copy of click in some versions
        return _wrong_usage(error)
    if isinstance(error, errors.TcssaError):
        for kind, hint, code in _NEXT_STEPS:
            if isinstance(error, kind):
                return Explanation(str(error), error.hint or hint, code)
        return Explanation(str(error), error.hint, _FAILED)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return explain(errors.DiskFullError(error.filename or "a file"))
    if isinstance(error, OSError) and error.filename and error.errno in _PLAIN_ERRNOS:
        return Explanation(f"{error.filename}: {error.strerror}", "check the path", _FAILED)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Explanation(
            f"out of memory ({errors.one_line(error, 300)})",
            "use smaller batches or another device",
            _FAILED,
        )
    return Explanation(
        f"unexpected {type(error).__name__}: {errors.one_line(error, 300)}",
        "this is a fault of tcssa; run it again with --debug and report what that prints",
        _FAILED,
    )


def _wrong_usage(error: Any) -> Explanation:
    """Explain what typer could not read; the message is empty where it has shown the help."""
    place = getattr(getattr(error, "ctx", None), "command_path", "tcssa")
    message = errors.one_line(error.format_message(), 300)
    return Explanation(message, f"{place} --help lists what it takes", _USAGE, True)
