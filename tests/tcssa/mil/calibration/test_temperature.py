"""Temperature scaling."""

import numpy as np
import pytest

from tcssa.mil.calibration.temperature import fit_temperature, scaled
from tcssa.statistics.metrics import Floats, Ints, calibration_error


def softmax(logits: Floats) -> Floats:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def drawn(num_slides: int, factor: float) -> tuple[Ints, Floats]:
    """Labels drawn from probabilities, and these probabilities with their logits multiplied."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(num_slides, 3))
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits)])
    return labels, softmax(factor * logits)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_it_undoes_too_large_and_too_small_logits(factor: float) -> None:
    labels, probs = drawn(2000, factor)
    temperature = fit_temperature(labels, probs)
    assert temperature == pytest.approx(factor, rel=0.1)
    before, after = (calibration_error(labels, p) for p in (probs, scaled(probs, temperature)))
    assert after < 0.03
    assert after <= before + 0.01


def test_scaling_divides_the_logits() -> None:
    logits = np.array([[1.0, -2.0, 0.5], [30.0, -800.0, 0.0]])
    expected = softmax(logits / 2)
    assert scaled(softmax(logits), 2.0)[0] == pytest.approx(expected[0])
    assert scaled(softmax(logits), np.array([[2.0], [1.0]]))[1] == pytest.approx(
        [1, 0, 0], abs=1e-12
    )


def test_few_slides_that_are_all_right_do_not_make_certainty() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8]] * 4)
    temperature = fit_temperature(np.array([0, 1] * 4), probs)
    assert 0.3 < temperature < 1
    assert scaled(probs, temperature).max() < 0.9999
