"""How a step's slides are divided."""

from hypothesis import given
from hypothesis import strategies as st

from tcssa.mil.training.step_partition import divide

SIZES = st.lists(st.integers(min_value=1, max_value=100_000), max_size=40)
PARTS = st.integers(min_value=1, max_value=9)


@given(SIZES, PARTS)
def test_every_thing_is_in_one_part(sizes: list[int], num_parts: int) -> None:
    parts = divide(sizes, num_parts)
    assert len(parts) == num_parts
    assert sorted(position for part in parts for position in part) == list(range(len(sizes)))
    assert all(part == sorted(part) for part in parts)


@given(SIZES, PARTS)
def test_no_part_is_heavier_than_another_by_more_than_one_thing(
    sizes: list[int], num_parts: int
) -> None:
    loads = [sum(sizes[i] for i in part) for part in divide(sizes, num_parts)]
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_a_large_slide_stands_against_many_small_ones() -> None:
    assert divide([1, 2, 9, 3, 2], 2) == [[2], [0, 1, 3, 4]]
