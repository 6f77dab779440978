"""What is looked at before a runtime runs."""

import numpy as np
import pytest

from tcssa.errors import NonFiniteFeatureError
from tcssa_runtimes.contract.checks import _surely_finite, check_finite


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_in_its_row(dtype: type, fault: float) -> None:
    features = np.ones((50, 7), dtype)
    features[31, 6] = fault
    with pytest.raises(NonFiniteFeatureError, match="row 131 "):
        check_finite(features, first_row=100)
    many = np.concatenate([np.ones((7000, 7), dtype), -features])
    with pytest.raises(NonFiniteFeatureError, match="row 7031 "):
        check_finite(many)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_largest_numbers_are_finite_though_their_sum_is_not(dtype: type) -> None:
    largest = np.full((50, 7), np.finfo(dtype).max, dtype)
    check_finite(largest)
    check_finite(-largest)
    check_finite(np.asfortranarray(largest))
    check_finite(largest[:0])
    check_finite(np.full((3, 7), np.finfo(dtype).smallest_subnormal, dtype))


def test_every_half_is_told_from_what_is_not_finite() -> None:
    for bits in range(1 << 16):
        half = np.array([[bits]], np.uint16).view(np.float16)
        assert _surely_finite(half) == np.isfinite(half).all()
