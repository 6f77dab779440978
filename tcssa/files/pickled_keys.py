"""Keys of the dicts in a pickle: plain, quick to find, and each there once."""

from __future__ import annotations

from collections import Counter
from types import NoneType
from typing import Any

from tcssa.files.boundary import UnsoundError

PLAIN = (str, int, float, bytes, NoneType)
_MOST_PARTS, _MOST_BITS, _MOST_ALIKE = 32, 64, 100


class KeyGuard:
    """The check of all keys of one pickle.

    Hashes of numbers are the same in every process, so that a file can hold any number of keys of
    one hash; a dict compares each of them with all before. Numbers of 64 bits have too few such
    keys to matter, tuples of them do not, and are counted. Long numbers and tuples are refused for
    their time too: Python computes their hash anew whenever one is used.
    """

    def __init__(self) -> None:
        self._num_alike: Counter[tuple[int, int]] = Counter()

    def require(self, key: Any, target: dict[Any, Any]) -> None:
        """Require a plain value, or a short tuple of such, that the dict does not hold yet.

        Args:
            key: The key to be added.
            target: The dict.

        Raises:
            UnsoundError: The key is something else, holds a number of more than 64 bits, is there
                already, or is one of many of one hash.
        """
        is_tuple = type(key) is tuple
        parts = key if is_tuple else (key,)
        if len(parts) > _MOST_PARTS or not all(isinstance(part, PLAIN) for part in parts):
            raise UnsoundError(f"the pickle has a {type(key).__name__} as a key")
        if any(isinstance(part, int) and part.bit_length() > _MOST_BITS for part in parts):
            raise UnsoundError("the pickle has a number of more than 64 bits as a key")
        if is_tuple:
            place = id(target), hash(key)
            self._num_alike[place] += 1
            if self._num_alike[place] > _MOST_ALIKE:
                raise UnsoundError("the pickle has too many keys of one hash")
        if key in target:  # Python silently keeps the last
            raise UnsoundError("the pickle has a key twice in one dict")
