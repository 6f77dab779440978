from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest

from tcssa.errors import UsageError
from tcssa.features.magnification import magnification, nominal_magnification
from tcssa.slides.extraction.grid import GridSpec, tissue_corners
from tcssa.slides.tissue.tissue import Tissue


def expected_positions(
    length: int, patch: int, overlap: int, mpp: float, mpp_level0: float
) -> tuple[list[int], int]:
    """The same grid by decimal arithmetic, one corner after the other."""
    scale = Decimal(str(mpp)) / Decimal(str(mpp_level0))
    half = Decimal("0.5")
    size = int((patch * scale + half).to_integral_value(ROUND_FLOOR))
    found = []
    while True:
        exact = len(found) * (patch - overlap) * scale
        corner = int((exact + half).to_integral_value(ROUND_FLOOR))
        if corner + size > length:
            return found, size
        found.append(corner)


@pytest.mark.parametrize(
    ("patch", "overlap", "mpp", "mpp_level0"),
    [(512, 0, 0.5, 0.265), (224, 0, 0.5, 0.499), (256, 64, 1.0, 0.2527), (224, 0, 0.5, 0.5)],
)
def test_grid_equals_an_independent_computation(
    patch: int, overlap: int, mpp: float, mpp_level0: float
) -> None:
    spec = GridSpec(patch, overlap, mpp, mpp_level0)
    x, size = expected_positions(20_011, patch, overlap, mpp, mpp_level0)
    y, _ = expected_positions(9_973, patch, overlap, mpp, mpp_level0)
    expected = [(left, top) for top in y for left in x]
    assert spec.patch_size_level0 == size
    found = spec.corners(20_011, 9_973)
    assert sorted(map(tuple, found.tolist())) == sorted(expected)
    assert len(found) == len(expected)


def test_a_slide_of_0265_mpp_is_not_read_as_025() -> None:
    spec = GridSpec(512, 0, 0.5, 0.265)
    assert spec.side == pytest.approx(966.0377, abs=1e-4)
    assert spec.patch_size_level0 == 966
    assert spec.mpp_effective == pytest.approx(966 * 0.265 / 512)
    corners = spec.corners(100_000, 966)
    assert corners[-1, 0] == round(102 * 966.0377358)  # rounding errors do not add up


@pytest.mark.parametrize("mpp_level0", [0.2325, 0.25, 0.265, 0.499, 0.5482, 0.121])
@pytest.mark.parametrize("mpp", [0.5, 0.7])
def test_on_tridents_scale_a_patch_is_what_trident_reads(mpp_level0: float, mpp: float) -> None:
    spec = GridSpec(224, 0, mpp, mpp_level0, trident_scale=True)
    source, target = nominal_magnification(mpp_level0), magnification(mpp)
    assert spec.patch_size_level0 == round(224 * (10 / target) / (10 / source))
    assert spec.step == pytest.approx(spec.side)
    assert spec.mpp_effective == pytest.approx(spec.patch_size_level0 * mpp_level0 / 224)


def test_patches_lie_wholly_inside_and_exact_fits_are_kept() -> None:
    spec = GridSpec(100, 0, 0.5, 0.5)
    assert len(spec.corners(300, 200)) == 6
    assert len(spec.corners(299, 200)) == 4
    assert spec.corners(99, 200).shape == (0, 2)


def test_row_major_order() -> None:
    assert GridSpec(10, 0, 1, 1).corners(20, 20).tolist() == [[0, 0], [10, 0], [0, 10], [10, 10]]


def test_a_grid_finer_than_the_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="level-0 pixels"):
        GridSpec(224, 223, 0.1, 0.5).corners(1000, 1000)


def test_patches_are_kept_by_their_share_of_tissue() -> None:
    mask = np.zeros((40, 40), bool)
    mask[:10, :10] = True  # a quarter of the first patch of 20 mask pixels
    tissue = Tissue(mask, scale=5.0)
    spec = GridSpec(100, 0, 0.5, 0.5)
    assert tissue_corners(spec, (200, 200), tissue, 0.25).tolist() == [[0, 0]]
    assert tissue_corners(spec, (200, 200), tissue, 0.26).tolist() == []
    assert tissue_corners(spec, (200, 200), tissue, 0.0).tolist() == [[0, 0]]


def test_magnifications_are_named_as_trident_does() -> None:
    assert [nominal_magnification(mpp) for mpp in (0.11, 0.1999, 0.2527, 0.499, 1.0, 2.0)] == [
        80, 60, 40, 20, 10, 5,
    ]  # fmt: skip
    assert magnification(0.5) == 20
    assert isinstance(magnification(0.5), int)
    assert magnification(0.265) == 37.74


def test_patches_come_in_blocks_so_that_tiles_are_decoded_once() -> None:
    corners = GridSpec(224, 0, 0.5, 0.25).corners(40_000, 30_000)
    block = 9 * 448  # 9 patches of 224 px are the most that fit into 2048 px
    number = corners // block
    _, first = np.unique(number, axis=0, return_index=True)
    changes = 1 + (np.diff(number, axis=0) != 0).any(axis=1).sum()
    assert changes == len(first)  # each block is begun once
