"""The way from chunks to slots, on a model that adds features up without weights."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tcssa.artefact import PatchRange
from tcssa.errors import NonFiniteFeatureError
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.launch import Launch
from tcssa_runtimes.contract.model_info import ModelFacts
from tcssa_runtimes.contract.outputs import Means, Refined, RuntimeOutput
from tcssa_runtimes.contract.slide_accumulator import Launches, SlideAccumulator
from tcssa_runtimes.contract.slide_sums import ChunkSums

K, D, ROWS = 2, 3, 4


class Handle:
    def __init__(self, runtime: "Adder", sums: list[ChunkSums]) -> None:
        self.runtime, self.sums = runtime, sums

    def result(self) -> list[ChunkSums]:
        self.runtime.in_flight -= 1
        return self.sums


class Adder(Runtime):
    """Sends every patch to slot 0; counts its launches and how many are in flight."""

    def __init__(self, chunks_at_once: int = 1, launches_at_once: int = 1) -> None:
        facts = ModelFacts(
            Path("adder"), D, D, K, 1, PatchRange(min=0, opt=1, max=None), None, None, "",
            chunk_patches=ROWS,
        )  # fmt: skip
        super().__init__(facts, "adder")
        self.chunks_at_once, self.launches_at_once = chunks_at_once, launches_at_once
        self.launched: list[int] = []
        self.finished: list[int] = []
        self.in_flight = self.most_in_flight = 0

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _run(self, *_: Any) -> RuntimeOutput:
        raise AssertionError("it streams")

    def _launch(self, chunks: Sequence[Features]) -> Launch:
        self.launched.append(len(chunks))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return Handle(self, self._sum_up(chunks))

    def _sum_up(self, chunks: Sequence[Features]) -> list[ChunkSums]:
        return [
            ChunkSums(
                np.stack([chunk.sum(axis=0), np.zeros(D, np.float32)]),
                np.array([len(chunk), 0], np.float32),
                np.zeros((len(chunk), 1), np.int64),
                np.ones((len(chunk), 1), np.float32),
            )
            for chunk in chunks
        ]

    def _refine(self, means: Means) -> Refined:
        self.finished.append(len(means.means))
        return Refined(means.means)


def patches(count: int) -> NDArray[np.float32]:
    return np.arange(count * D, dtype=np.float32).reshape(count, D)


@pytest.mark.parametrize("cuts", [[11], [1, 2, 8], [0, 5, 0, 6]])
def test_a_slide_is_the_same_however_its_patches_are_handed_over(cuts: list[int]) -> None:
    rows = patches(11)
    with Adder(2, 2) as runtime, SlideAccumulator(runtime, has_coords=True, mpp=None) as slide:
        for part in np.split(rows, np.cumsum(cuts)[:-1]):
            slide.add(part, part[:, :2].astype(np.float64))
        found = slide.finish(filled_to=5)
        assert runtime.launched == [2, 1]  # chunks of 4, 4 and 3 patches
    assert runtime.finished == [5]
    assert found.num_patches == 11
    np.testing.assert_allclose(found.slots[0], rows.mean(axis=0))
    assert found.centroids is not None
    np.testing.assert_allclose(found.centroids[0], rows[:, :2].mean(axis=0))


def test_chunks_come_back_in_order_and_as_many_launches_are_in_flight_as_allowed() -> None:
    with Adder(2, 3) as runtime, Launches[int](runtime) as launches:
        found = [tag for i in range(9) for tag, _ in launches.put(i, patches(1))]
        assert found == list(range(len(found)))
        assert runtime.in_flight == 2
        found += [tag for tag, _ in launches.drain()]
    assert found == list(range(9))
    assert runtime.launched == [2, 2, 2, 2, 1]
    assert (runtime.most_in_flight, runtime.in_flight) == (3, 0)


def test_alone_a_chunk_is_launched_and_waited_for_as_soon_as_it_is_full() -> None:
    with Adder(4, 3) as runtime:
        slide = SlideAccumulator(runtime, has_coords=False, mpp=None, alone=True)
        slide.add(patches(ROWS + 1), None)
        assert (runtime.launched, runtime.in_flight) == ([1], 0)


def test_no_launch_is_left_after_an_error() -> None:
    def parts() -> Iterator[NDArray[np.float32]]:
        yield patches(8)
        assert runtime.in_flight == 2
        yield np.array([[1, 2, 3], [np.nan, 0, 0]], np.float32)

    with Adder(1, 3) as runtime:
        with pytest.raises(NonFiniteFeatureError, match="row 9 "):
            runtime.encode(parts())
        assert runtime.in_flight == 0
