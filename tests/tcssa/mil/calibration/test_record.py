"""A threshold and a temperature as they are kept."""

import numpy as np
import pytest
from pydantic import ValidationError

from tcssa.mil.calibration.record import Calibration


def test_a_probability_at_the_threshold_counts_as_positive() -> None:
    kept = Calibration(temperature=1.0, threshold=0.3, rule="youden", num_slides=6)
    probs = np.array([[0.71, 0.29], [0.7, 0.3], [0.1, 0.9]])
    assert kept.positive(probs).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"threshold": 1.2}, {"temperature": float("nan")}]
)
def test_values_that_calibrate_nothing_are_refused(wrong: dict[str, float]) -> None:
    sound = {"temperature": 1.0, "threshold": 0.5, "num_slides": 6}
    with pytest.raises(ValidationError):
        Calibration.model_validate({**sound, **wrong})
