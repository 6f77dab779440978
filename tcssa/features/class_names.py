"""The names of classes in a column of labels, and what stands there instead of one."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tcssa.files.table import is_missing, number

_MAX_LABEL = 1000
"""Most characters; a longer label is text in the wrong column, or rows merged by a fault."""
_WHOLE = re.compile(r"(-?\d+)\.0+")


class UnusableLabelError(ValueError):
    """A row whose label is not known, or is none of those that are wanted; it may be left out."""


class MissingLabelError(UnusableLabelError):
    """A row whose label is not known."""


class ClassNames:
    """Reads the name of a class, spelt in one way throughout a table.

    Args:
        classes: The names that may occur, matched regardless of case; None accepts all.
        label_names: Names of classes by other spellings of them.
        cells: All cells of the column: of two spellings that look alike, the rarer one is at fault.
    """

    def __init__(
        self,
        classes: Sequence[str] | None,
        label_names: Mapping[str, str],
        cells: Iterable[str] = (),
    ) -> None:
        self._known = {_seen(name): name for name in classes or ()}
        self._label_names = label_names
        self._spelt: dict[str, str] = {}
        counts = Counter(label for label in map(self._named, cells) if not is_missing(label))
        for label, _ in counts.most_common():
            self._spelt.setdefault(_seen(label), label)

    def __call__(self, cell: str) -> str:
        """Return the class that a cell names.

        Raises:
            MissingLabelError: The cell is empty, or says that the label is not known.
            UnusableLabelError: It names no class that may occur.
            ValueError: It is too long, or spelt differently elsewhere in the table.
        """
        label = self._named(cell)
        key = _seen(label)
        if key not in self._known and is_missing(label):
            raise MissingLabelError(missing("label", label))
        if len(label) > _MAX_LABEL:
            raise ValueError(f"the label has {len(label):,} characters")
        if self._known:
            if key not in self._known:
                names = ", ".join(self._known.values())
                raise UnusableLabelError(f"label {label!r} is none of {names}")
            return self._known[key]
        first = self._spelt.setdefault(key, label)
        if first != label:
            raise ValueError(f"{label!r} stands elsewhere as {first!r}")
        return label

    def _named(self, cell: str) -> str:
        """Return what a cell is called: by another name, or a whole number without its zeros."""
        whole = _WHOLE.sub(r"\1", cell) if _WHOLE.fullmatch(cell) else cell
        return self._label_names.get(cell, self._label_names.get(whole, whole))


def missing(what: str, cell: str) -> str:
    """Say that a value is not known.

    Args:
        what: The value: label, time, event.
        cell: What stands in its cell.
    """
    return f"the {what} is missing ({cell!r})" if cell else f"the {what} is empty"


def _seen(label: str) -> str:
    """Reduce a label to its appearance, so that labels that look alike are not two classes."""
    shown = "".join(sign for sign in label if unicodedata.category(sign) not in ("Cc", "Cf"))
    plain = unicodedata.normalize("NFKC", shown).lower()
    try:
        value = number(plain)
    except ValueError:
        return plain
    return repr(value) if math.isfinite(value) else plain
