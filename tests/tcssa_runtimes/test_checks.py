"""What is looked at before a runtime runs."""

import numpy as np
import pytest

from tcssa.errors import NonFiniteFeatureError
from tcssa_runtimes.checks import check_finite


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_in_its_row(dtype: type, fault: float) -> None:
    features = np.ones((50, 7), dtype)
    features[31, 6] = fault
    with pytest.raises(NonFiniteFeatureError, match="row 131 "):
        check_finite(features, first_row=100)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_largest_numbers_are_finite_though_their_sum_is_not(dtype: type) -> None:
    largest = np.full((50, 7), np.finfo(dtype).max, dtype)
    check_finite(largest)
    check_finite(-largest)
    check_finite(np.asfortranarray(largest))
    check_finite(largest[:0])
    check_finite(np.full((3, 7), np.finfo(dtype).smallest_subnormal, dtype))
