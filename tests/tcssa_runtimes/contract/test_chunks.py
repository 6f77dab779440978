"""Chunks of a slide, regrouped."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcssa_runtimes.contract.chunks import Chunk, ChunkCutter


def cut(parts: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    cutter = ChunkCutter(size)
    for part in parts:
        yield from cutter.add(part)
    yield from cutter.rest()


def chunks(sizes: list[int], *, placed: bool = True) -> list[Chunk]:
    """Patches that are numbered through, at places ten times their number."""
    edges = itertools.accumulate(sizes, initial=0)
    numbers = [np.arange(begin, end) for begin, end in itertools.pairwise(edges)]
    return [
        Chunk(
            np.repeat(each[:, None], 3, axis=1).astype(np.float32),
            np.repeat(each[:, None], 2, axis=1) * 10.0 if placed else None,
        )
        for each in numbers
    ]


@given(sizes=st.lists(st.integers(0, 9), max_size=8), size=st.integers(1, 12))
def test_every_patch_comes_once_in_order_with_its_place(sizes: list[int], size: int) -> None:
    found = list(cut(chunks(sizes), size))
    full, rest = divmod(sum(sizes), size)
    assert [len(features) for features, _ in found] == [size] * full + [rest] * (rest > 0)
    features = [row for rows, _ in found for row in rows[:, 0].tolist()]
    assert features == list(range(sum(sizes)))
    places = [row for _, xy in found if xy is not None for row in xy[:, 1].tolist()]
    assert places == [10 * number for number in features]


def test_what_lies_within_one_chunk_is_not_copied() -> None:
    given_chunks = chunks([10, 4])
    first, second, third = cut(given_chunks, 5)
    for made in (first, second):
        assert np.shares_memory(made[0], given_chunks[0][0])
    assert np.shares_memory(third[0], given_chunks[1][0])


def test_patches_without_places_stay_without_and_halves_stay_halves() -> None:
    halves = [Chunk(rows.astype(np.float16), xy) for rows, xy in chunks([3, 3], placed=False)]
    found = list(cut(halves, 4))
    assert [xy for _, xy in found] == [None, None]
    assert {rows.dtype for rows, _ in found} == {np.dtype(np.float16)}


def test_a_chunk_is_handed_on_before_the_next_is_read() -> None:
    def given_chunks() -> itertools.chain[Chunk]:
        return itertools.chain(chunks([4]), (pytest.fail("read too early") for _ in range(1)))

    assert len(next(cut(given_chunks(), 4))[0]) == 4
