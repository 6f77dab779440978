"""Small bags are computed on by one thread, for a block only."""

from collections.abc import Iterator

import pytest
import torch

from tcssa.compute.threads import threads_for


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_small_bags_take_one_thread_until_the_block_ends_even_by_an_error() -> None:
    with threads_for(30):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), threads_for(30):
        _ = 1 / 0
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_large_bags_take_all_threads() -> None:
    with threads_for(10_000):
        assert torch.get_num_threads() == 2
