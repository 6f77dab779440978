"""Sums of a slide's chunks."""

import itertools

import numpy as np
import pytest

from tcssa.errors import NonFiniteFeatureError, ShapeError
from tcssa.moments import Floats, SlotMoments
from tcssa_runtimes.contract.slide_sums import ChunkSums, SlideSums

K, D = 8, 3


class Patches:
    """Patches in two slots each, of the first seven."""

    def __init__(self, num_patches: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.features = rng.standard_normal((num_patches, D)).astype(np.float32)
        self.slots = np.stack([rng.permutation(K - 1)[:2] for _ in range(num_patches)])
        self.weights = rng.uniform(0.1, 0.5, (num_patches, 2)).astype(np.float32)
        self.salience = rng.uniform(0, 2, num_patches).astype(np.float32)
        self.places: Floats = rng.uniform(0, 20_000, (num_patches, 2))
        self.dense = np.zeros((num_patches, K), np.float32)
        counted = self.weights * self.salience[:, None]
        np.put_along_axis(self.dense, self.slots, counted, axis=1)

    def chunk(self, rows: slice, *, bad_row: int | None = None) -> ChunkSums:
        dense = self.dense[rows]
        return ChunkSums(
            dense.T @ self.features[rows],
            dense.sum(axis=0),
            self.slots[rows],
            self.weights[rows],
            self.salience[rows],
            bad_row,
        )

    def summed(self, *cuts: int) -> SlideSums:
        sums = SlideSums(K, D, has_coords=True, mpp=0.5)
        for begin, end in itertools.pairwise(cuts):
            sums.add(self.chunk(slice(begin, end)), self.places[begin:end])
        return sums


def test_chunks_add_up_to_the_slide_with_its_places() -> None:
    patches = Patches(30)
    found = patches.summed(0, 1, 12, 30)
    assert found.num_patches == 30
    mass = patches.dense.astype(np.float64).sum(axis=0)
    means = patches.dense.T[:-1].astype(np.float64) @ patches.features / mass[:-1, None]
    np.testing.assert_allclose(found.mean()[:-1], means, atol=1e-5)
    assert found.mean()[-1].tolist() == [0.0] * D
    counted = patches.weights * patches.salience[:, None]
    whole = SlotMoments.of(patches.slots, counted, patches.places, K, 0.5)
    np.testing.assert_allclose(found.moments(), whole.vectors(), atol=1e-5)


def test_parts_of_a_slide_merge_and_fold_in_any_order() -> None:
    patches = Patches(30)
    first, second = patches.summed(0, 14), patches.summed(14, 20, 30)
    folded = first.fold(4)
    folded.merge(second.fold(4))
    second.merge(first)
    assert folded.num_patches == second.num_patches == 30
    np.testing.assert_allclose(folded.mean(), second.fold(4).mean(), atol=1e-5)
    np.testing.assert_allclose(folded.moments(), second.fold(4).moments(), atol=1e-5)
    np.testing.assert_allclose(second.mass, patches.dense.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        folded.mass, [second.mass[[slot, slot + 4]].sum() for slot in range(4)], rtol=1e-5
    )


def test_a_bad_row_is_counted_from_the_slides_first_patch_and_adds_nothing() -> None:
    patches = Patches(30)
    sums = patches.summed(0, 12)
    before = sums.weighted_sum.copy()
    with pytest.raises(NonFiniteFeatureError) as caught:
        sums.add(patches.chunk(slice(12, 30), bad_row=5), patches.places[12:])
    assert caught.value.row == 17
    assert sums.num_patches == 12
    assert np.array_equal(sums.weighted_sum, before)


def test_a_part_without_places_leaves_the_slide_without() -> None:
    patches = Patches(30)
    bare = SlideSums(K, D)
    bare.add(patches.chunk(slice(0, 9)))
    placed = patches.summed(9, 30)
    placed.merge(bare)
    assert placed.places is None
    assert placed.num_patches == 30
    with pytest.raises(ShapeError, match="needs coordinates"):
        placed.moments()
    assert not SlideSums(K, D).moments().any()  # an empty slide, which fills up a launch
