"""Magnifications that stand for resolutions."""

import pytest

from tcssa.features.magnification import magnification, nominal_magnification


@pytest.mark.parametrize("power", [80, 60, 40, 20, 10, 5, 2, 1])
def test_an_objective_s_own_resolution_and_those_near_it_are_its(power: int) -> None:
    for scanner in (0.97, 1.0, 1.03):
        assert nominal_magnification(scanner * 10 / power) == power


@pytest.mark.parametrize(
    ("bound", "above"), [(0.16, 60), (0.2, 40), (0.3, 20), (0.6, 10), (1.2, 5), (2.4, 4)]
)
def test_a_resolution_on_a_bound_belongs_to_the_lower_power(bound: float, above: int) -> None:
    assert nominal_magnification(bound) == above
    assert nominal_magnification(bound - 1e-9) > above


def test_a_picture_from_afar_is_still_of_some_magnification() -> None:
    assert nominal_magnification(50.0) == 1


@pytest.mark.parametrize(
    ("mpp", "power"), [(0.25, 40), (0.265, 37.74), (3.0, 3.33), (0.4999, 20), (20.0, 0.5)]
)
def test_magnifications_have_two_decimals_and_whole_ones_none(mpp: float, power: float) -> None:
    found = magnification(mpp)
    assert found == power
    assert isinstance(found, type(power))
