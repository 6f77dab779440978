"""Threads of torch are limited for a block only."""

from collections.abc import Iterator

import pytest
import torch

from tcssa.compute.threads import at_most_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_limit_holds_within_the_block_and_ends_with_it_even_by_an_error() -> None:
    with at_most_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), at_most_threads(1):
        _ = 1 / 0
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_threads_are_never_made_more() -> None:
    with at_most_threads(8):
        assert torch.get_num_threads() == 2
