"""From values to colours."""

import numpy as np
import pytest

from tcssa.mil.heatmaps.scales import Scale


def test_values_for_and_against_lie_on_both_sides_of_the_middle() -> None:
    scale = Scale.of("value", np.linspace(-4, 2, 101), signed=True)
    low, middle, high = scale(np.array([-100.0, 0.0, 100.0]))
    assert (low, middle, high) == (0, 0.5, 1)
    assert scale.limit == pytest.approx(4, rel=0.05)
    assert scale.ticks[0.5] == "0"


def test_one_patch_far_off_does_not_pale_the_others() -> None:
    values = np.append(np.linspace(0, 1, 999), 1e6)
    assert Scale.of("value", values, signed=False).limit < 1.1


def test_percentiles_are_shares_of_patches_and_equal_ones_share_theirs() -> None:
    values = np.array([5.0, 1.0, 1.0, 9.0])
    scale = Scale.of("percentile", values, signed=True)
    np.testing.assert_allclose(scale(values), [0.625, 0.25, 0.25, 0.875])


def test_percentiles_of_all_slides_keep_slides_apart() -> None:
    low, high = np.linspace(0, 1, 50), np.linspace(2, 3, 50)
    scale = Scale.of("percentile", np.concatenate([low, high]), signed=False)
    assert scale(low).max() < 0.5 < scale(high).min()


def test_a_slide_without_any_evidence_has_a_scale() -> None:
    np.testing.assert_array_equal(Scale.of("value", np.zeros(5), signed=True)(np.zeros(5)), 0.5)
