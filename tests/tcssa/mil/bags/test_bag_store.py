"""Where features come from: what is kept, what is read ahead, and in which order it comes."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import write_cohort
from torch import Tensor

from tcssa.errors import TcssaError
from tcssa.mil.bags.bag_store import BATCHES_AHEAD, BagStore
from tcssa.mil.cohort.cohort import CohortSlide, read_cohort

ONE_BAG = 25 * 16 * 4


@pytest.fixture
def slides(tmp_path: Path) -> list[CohortSlide]:
    return read_cohort(write_cohort(tmp_path, num_slides=6)).slides


def test_the_store_keeps_to_its_budget_and_gives_the_same_features(
    slides: list[CohortSlide],
) -> None:
    frugal, generous = BagStore(ONE_BAG * 2), BagStore(10**9)
    for slide in [*slides, *slides]:
        assert torch.equal(frugal.get(slide), generous.get(slide))
    assert 0 < frugal._held_bytes <= ONE_BAG * 2
    assert len(generous._held) == 6


def test_what_is_kept_is_not_read_again(slides: list[CohortSlide]) -> None:
    store = BagStore(ONE_BAG * 3)
    first = [store.get(slide) for slide in slides]
    for slide in slides:
        slide.path.unlink()
    kept = [slide for slide in slides if slide.path in store._held]
    assert kept == slides[:3]  # none was dropped for a later one
    for slide, features in zip(kept, first, strict=False):
        assert store.get(slide) is features


def test_features_are_rounded_only_where_they_fit(slides: list[CohortSlide]) -> None:
    exact = BagStore(0).get(slides[0])
    assert exact.dtype == torch.float32
    assert torch.equal(BagStore(0, half=True).get(slides[0]), exact.half())


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_come_in_order_and_a_broken_bag_ends_them(
    slides: list[CohortSlide], readers: int
) -> None:
    batches = [slides[:4], slides[4:]]
    read = list(BagStore(10**9, readers=readers).batches(batches))
    assert [[len(bag) for bag in bags] for _, bags in read] == [[20, 21, 22, 23], [24, 25]]
    slides[5].path.unlink()
    with pytest.raises(TcssaError, match=r"s05\.h5: there is no such file"):
        list(BagStore(0, readers=readers).batches(batches))


class _Watched(BagStore):
    """Counts what is read, and by whom."""

    def __init__(self, readers: int) -> None:
        super().__init__(0, readers=readers)
        self.names: list[str] = []
        self.together = threading.Barrier(readers, timeout=30)

    def get(self, slide: CohortSlide) -> Tensor:
        self.names.append(threading.current_thread().name)
        self.together.wait()  # passes only while as many threads read at once
        return super().get(slide)


def test_several_threads_read_a_bounded_number_of_batches_ahead(
    slides: list[CohortSlide],
) -> None:
    store = _Watched(readers=2)
    batches = store.batches([slides[:2]] * 20)
    next(batches)
    store.together.abort()  # else one thread may wait for another that has nothing left to read
    batches.close()
    assert 2 <= len(store.names) <= 2 * (1 + BATCHES_AHEAD)
    assert all(name.startswith("read-bags") for name in store.names)


def test_a_sample_is_an_equal_share_of_every_slide_with_its_origins(
    slides: list[CohortSlide],
) -> None:
    store = BagStore(0)
    drawn, origins = store.sample(slides, 20, np.random.default_rng(0))
    assert [name for name, _ in origins] == [s.slide_id for s in slides for _ in range(3)]
    bags = {slide.slide_id: store.get(slide).float() for slide in slides}
    assert drawn.equal(torch.stack([bags[name][row] for name, row in origins]))
    every, _ = store.sample(slides, 1, np.random.default_rng(0))
    assert len(every) == len(slides)
