"""The routing of patches in few bytes, and its parts put together."""

import numpy as np
import pytest

from tcssa_runtimes.contract.routing import Routing


def part(size: int, num_slots: int, *, salient: bool = True) -> Routing:
    rng = np.random.default_rng(size)
    return Routing.of(
        rng.integers(0, num_slots, (size, 2)),
        rng.random((size, 2), dtype=np.float32),
        rng.random(size, dtype=np.float32) if salient else None,
        rng.random((size, 2)) if salient else None,
        num_slots,
    )


@pytest.mark.parametrize(("num_slots", "kind"), [(256, np.uint8), (257, np.uint16)])
def test_a_slot_takes_as_few_bytes_as_its_number_needs(num_slots: int, kind: type) -> None:
    routing = Routing.of(np.array([[num_slots - 1, 0]]), np.ones((1, 2)), None, None, num_slots)
    assert routing.slots.dtype == kind
    assert routing.slots[0, 0] == num_slots - 1
    assert routing.weights.dtype == np.float16


def test_chunks_are_joined_in_their_order() -> None:
    parts = [part(3, 8), part(5, 8), part(1, 8)]
    joined = Routing.joined(parts)
    assert np.array_equal(joined.slots[3:8], parts[1].slots)
    assert joined.salience is not None
    assert parts[2].salience is not None
    assert joined.salience[8] == parts[2].salience[0]
    assert joined.positions is not None
    assert joined.positions.shape == (9, 2)


def test_what_a_model_does_not_have_is_not_made_up() -> None:
    joined = Routing.joined([part(3, 8, salient=False), part(5, 8, salient=False)])
    assert joined.salience is None
    assert joined.positions is None
