"""The classes differ in their nuclei, and in nothing that a look at the colours would tell."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tcssa.synthetic import (
    SOLID_PLEOMORPHIC,
    DrawnSlide,
    SlideSpec,
    cohort_specs,
    draw_slide,
)

Cohort = list[tuple[SlideSpec, DrawnSlide]]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Specs and slides of a cohort, at a third of the usual area."""
    specs = [replace(spec, width=896, height=704) for spec in cohort_specs(24)]
    return [(spec, draw_slide(spec)) for spec in specs]


@pytest.fixture(scope="module")
def solid(cohort: Cohort) -> NDArray[np.bool_]:
    return np.array([spec.label == SOLID_PLEOMORPHIC for spec, _ in cohort])


def cross_validated_auc(
    values: NDArray[np.float64], solid: NDArray[np.bool_], cohort: Cohort
) -> float:
    cases = [spec.case for spec, _ in cohort]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(
        model, values, solid, groups=cases, cv=folds, method="decision_function"
    )
    return float(roc_auc_score(solid, scores))


def nuclear_areas(slide: DrawnSlide) -> NDArray[np.float64]:
    areas = np.bincount(slide.nuclei[slide.tumour])[1:]
    return areas[areas > 20].astype(float)


def test_mean_colour_of_tumour_is_alike_in_both_classes(
    cohort: Cohort, solid: NDArray[np.bool_]
) -> None:
    colours = np.array([slide.pixels[slide.tumour].mean(axis=0) for _, slide in cohort])
    difference = np.abs(colours[solid].mean(axis=0) - colours[~solid].mean(axis=0))
    spread = np.sqrt((colours[solid].var(axis=0) + colours[~solid].var(axis=0)) / 2)
    assert (difference < spread).all()


def test_area_of_tumour_covered_by_nuclei_is_alike_in_both_classes(
    cohort: Cohort, solid: NDArray[np.bool_]
) -> None:
    shares = np.array([(slide.nuclei[slide.tumour] > 0).mean() for _, slide in cohort])
    assert shares[solid].mean() == pytest.approx(shares[~solid].mean(), rel=0.1)


def test_mean_colour_of_a_slide_does_not_tell_its_class(
    cohort: Cohort, solid: NDArray[np.bool_]
) -> None:
    colours = np.array([slide.pixels[slide.tissue].mean(axis=0) for _, slide in cohort])
    assert 0.2 < cross_validated_auc(colours, solid, cohort) < 0.7


def test_nuclear_size_tells_the_class(cohort: Cohort, solid: NDArray[np.bool_]) -> None:
    # Weighted by area, so that lymphocytes between the tumour cells do not count for much.
    sizes = np.array(
        [[(areas**2).sum() / areas.sum()] for areas in (nuclear_areas(s) for _, s in cohort)]
    )
    assert cross_validated_auc(sizes, solid, cohort) > 0.95


def test_nuclear_size_varies_more_in_the_pleomorphic_class(
    cohort: Cohort, solid: NDArray[np.bool_]
) -> None:
    variation = np.array(
        [areas.std() / areas.mean() for areas in (nuclear_areas(s) for _, s in cohort)]
    )
    assert variation[solid].mean() > 1.5 * variation[~solid].mean()


def test_tumour_is_a_minority_of_the_tissue_of_every_slide(cohort: Cohort) -> None:
    shares = [slide.tumour.sum() / slide.tissue.sum() for _, slide in cohort]
    assert min(shares) > 0.03
    assert max(shares) < 0.17
    assert np.ptp(shares) > 0.05
