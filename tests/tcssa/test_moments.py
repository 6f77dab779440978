"""Moments of coordinates: what they are by definition, and what they do not depend on."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tcssa.errors import ShapeError
from tcssa.moments import NUM_WAVES, VECTOR_LENGTH, WAVELENGTHS_UM, WAVES, SlotMoments

NUM_SLOTS = 5
LAST = slice(VECTOR_LENGTH - len(WAVELENGTHS_UM), VECTOR_LENGTH)
"""How much each slot lies together, by wavelength."""


def routed(num_patches: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Two slots of the first four for each patch, and what it weighs there; the fifth is empty."""
    rng = np.random.default_rng(seed)
    slots = np.stack([rng.permutation(4)[:2] for _ in range(num_patches)])
    return slots, rng.uniform(0.1, 1, (num_patches, 2)).astype(np.float32)


def places(num_patches: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 40_000, (num_patches, 2))


def test_vectors_are_what_the_formulae_say() -> None:
    slots, weights = routed(60)
    xy, mpp = places(60), 0.25
    vectors = SlotMoments.of(slots, weights, xy, NUM_SLOTS, mpp).vectors()
    dense = np.zeros((60, NUM_SLOTS))
    np.put_along_axis(dense, slots, weights, axis=1)
    microns = xy * mpp
    centre = (dense.sum(axis=1)[:, None] * microns).sum(axis=0) / dense.sum()
    for slot in range(4):
        share = dense[:, slot] / dense[:, slot].sum()
        about = microns - centre
        mean = share @ about
        spread = np.sqrt(share @ (about - mean) ** 2)
        waves = share @ np.exp(1j * about @ WAVES.T)
        together = np.abs(waves).reshape(len(WAVELENGTHS_UM), -1).mean(axis=1)
        expected = [*mean / 4000, *spread / 4000, *waves.real, *waves.imag, *together]
        np.testing.assert_allclose(vectors[slot], expected, atol=1e-6)
    assert not vectors[4].any()
    assert vectors.shape == (NUM_SLOTS, VECTOR_LENGTH)


def test_waves_have_their_wavelengths() -> None:
    lengths = 2 * math.pi / np.linalg.norm(WAVES, axis=1)
    np.testing.assert_allclose(lengths, np.repeat(WAVELENGTHS_UM, NUM_WAVES // 3))


def test_where_the_scanner_began_and_its_pixels_do_not_matter() -> None:
    slots, weights = routed(80)
    xy = places(80)
    here = SlotMoments.of(slots, weights, xy, NUM_SLOTS, 0.5).vectors()
    elsewhere = SlotMoments.of(
        slots, weights, xy + np.array([90_000, 7_000]), NUM_SLOTS, 0.5
    ).vectors()
    finer = SlotMoments.of(slots, weights, 2 * xy, NUM_SLOTS, 0.25).vectors()
    np.testing.assert_allclose(elsewhere, here, atol=1e-6)
    np.testing.assert_allclose(finer, here, atol=1e-6)


def test_parts_add_up_in_any_order_and_folding_may_come_first() -> None:
    slots, weights = routed(90)
    slots, xy = slots % 4, places(90)

    def part(rows: slice) -> SlotMoments:
        return SlotMoments.of(slots[rows], weights[rows], xy[rows], 4, 0.5)

    whole = part(slice(None))
    parts = [part(slice(0, 10)), part(slice(10, 70)), part(slice(70, 90))]
    merged = SlotMoments.empty(4).merge(parts[2]).merge(parts[0]).merge(parts[1])
    np.testing.assert_allclose(merged.vectors(), whole.vectors(), atol=1e-6)
    folded = parts[0].fold(2).merge(parts[1].fold(2)).merge(parts[2].fold(2))
    np.testing.assert_allclose(folded.vectors(), whole.fold(2).vectors(), atol=1e-6)


def test_what_a_file_keeps_is_enough_to_go_on() -> None:
    slots, weights = routed(90)
    made = SlotMoments.of(slots, weights, places(90), NUM_SLOTS, 0.5)
    kept = SlotMoments.restored(
        made.mass, made.centroids(), made.spread(), made.mean_waves(), made.mpp
    )
    np.testing.assert_allclose(kept.vectors(), made.vectors(), atol=1e-6)


def test_patches_that_lie_together_are_told_from_scattered_ones() -> None:
    rng = np.random.default_rng(0)
    scattered = rng.uniform(0, 10_000, (100, 2))
    clump = rng.normal(3_000, 300, (100, 2))
    xy = np.concatenate([scattered, clump])
    slots = np.repeat([[0], [1]], 100, axis=0)
    vectors = SlotMoments.of(slots, np.ones((200, 1), np.float32), xy, 2, 1.0).vectors()
    assert vectors[1, LAST][1] > 0.85  # on the scale of 4 mm
    assert vectors[0, LAST][1] < 0.3


def test_without_a_unit_there_is_no_vector() -> None:
    slots, weights = routed(5)
    with pytest.raises(ShapeError, match="size in µm"):
        SlotMoments.of(slots, weights, places(5), NUM_SLOTS).vectors()
    half, quarter = (SlotMoments.of(slots, weights, places(5), NUM_SLOTS, mpp) for mpp in (0.5, 1))
    with pytest.raises(ShapeError, match=r"0\.5 and of 1 µm"):
        half.merge(quarter)
    assert not SlotMoments.empty(NUM_SLOTS).vectors().any()


@pytest.mark.parametrize("mpp", [0.0, -1.0, math.nan, math.inf])
def test_a_unit_that_is_no_size_is_refused(mpp: float) -> None:
    slots, weights = routed(5)
    with pytest.raises(ShapeError, match="must be above 0"):
        SlotMoments.of(slots, weights, places(5), NUM_SLOTS, mpp)


def test_places_that_are_none_are_refused() -> None:
    slots, weights = routed(5)
    with pytest.raises(ShapeError, match=r"coords must be \[5, 2\]"):
        SlotMoments.of(slots, weights, places(4), NUM_SLOTS, 0.5)
    bad = places(5)
    bad[3, 1] = math.nan
    with pytest.raises(ShapeError, match="first in row 3"):
        SlotMoments.of(slots, weights, bad, NUM_SLOTS, 0.5)
