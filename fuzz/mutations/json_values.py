"""Damage to JSON: values of other types, names that are gone or repeated, deep nesting."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from fuzz.mutations.text import mutate_text

_RAW = "\ufdd0raw:"
"""Marks text that is written as it is, since json.dumps has no way to write it."""
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**12,
    10**30, "", "x", "a" * 300, "\0", "\n", "\u2028", "\x1b[31m", "../../etc/passwd", "os:system",
    "/", ".", "0", "1e9", [], {}, [0], [None], [[]], {"": 0}, {"x": {}}, ["a", "b"],
    f"{_RAW}NaN", f"{_RAW}Infinity", f"{_RAW}-Infinity", f"{_RAW}1e400", f"{_RAW}{'9' * 5000}",
    f"{_RAW}{'[' * 100}{']' * 100}", f"{_RAW}{'[' * 20000}{']' * 20000}", f'{_RAW}"\\ud800"',
)  # fmt: skip


def mutate_json(rng: Random, seed: bytes) -> bytes:
    """Damage a JSON text in its values, or as text."""
    if rng.random() < 0.3:
        return mutate_text(rng, seed)
    return dumped(mutate_value(rng, json.loads(seed)))


def mutate_value(rng: Random, content: Any) -> Any:
    """Damage decoded JSON in one to three places."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = _damaged(rng, content)
    return content


def dumped(content: Any) -> bytes:
    """Write what `mutate_value` returns."""
    text = json.dumps(content)
    marked = json.dumps(_RAW)[1:-1]
    while marked in text:
        begin = text.index(marked) - 1
        end = text.index('"', begin + 1)
        while text[end - 1] == "\\":
            end = text.index('"', end + 1)
        raw = json.loads(text[begin : end + 1]).removeprefix(_RAW)
        text = text[:begin] + raw + text[end + 1 :]
    return text.encode()


def _damaged(rng: Random, content: Any) -> Any:
    """Damage one place; deep ones are as likely as those at the top."""
    paths = list(_paths(content))
    path = rng.choice(paths)
    if not path:
        return _other_value(rng) if rng.random() < 0.3 else content
    holder = content
    for step in path[:-1]:
        holder = holder[step]
    last, chance = path[-1], rng.random()
    if chance < 0.65:
        holder[last] = _other_value(rng)
    elif chance < 0.8:
        del holder[last]
    elif chance < 0.9:
        other: Any = content
        for step in rng.choice(paths):
            other = other[step]
        holder[last] = copy.deepcopy(other)
    elif isinstance(holder, dict):
        name = rng.choice(("", "x", "__class__", str(last).upper(), "a" * 300))
        holder[name] = copy.deepcopy(holder[last])
    else:
        holder.insert(0, copy.deepcopy(holder[last]))
    return content


def _other_value(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(_VALUES))


def _paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(content, dict | list):
        for name in content if isinstance(content, dict) else range(len(content)):
            yield from _paths(content[name], (*path, name))
