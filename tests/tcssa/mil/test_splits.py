"""No patient on two sides, every class on each, every slide tested once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcssa.errors import RunError, SplitError
from tcssa.mil.cohort import CohortSlide
from tcssa.mil.splits import Fold, make_folds, read_splits, require_disjoint, write_splits


def slides_of(patients: list[tuple[int, int]]) -> list[CohortSlide]:
    """Slides of (label, number of slides) patients."""
    return [
        CohortSlide(f"p{p}-s{s}", f"p{p}", label, Path("x.h5"), 10)
        for p, (label, count) in enumerate(patients)
        for s in range(count)
    ]


@given(
    counts=st.lists(st.integers(1, 3), min_size=24, max_size=40),
    num_folds=st.integers(3, 6),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_folds_share_no_patient_and_test_every_slide_once(
    counts: list[int], num_folds: int, seed: int
) -> None:
    slides = slides_of([(i % 2, count) for i, count in enumerate(counts)])
    folds = make_folds(slides, ["a", "b"], num_folds, seed)
    for fold in folds:
        sides = [{s.case_id for s in part} for part in (fold.train, fold.val, fold.test)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
        assert len(fold.train) + len(fold.val) + len(fold.test) == len(slides)
    assert sorted(s.slide_id for f in folds for s in f.test) == sorted(s.slide_id for s in slides)


def test_a_class_with_one_patient_is_named() -> None:
    slides = slides_of([(0, 1)] * 10 + [(1, 4)])
    with pytest.raises(SplitError, match="class 'rare' has 1 patient, 5 folds need at least 5"):
        make_folds(slides, ["common", "rare"], 5, 0)


def test_a_planted_leak_is_named() -> None:
    one, two, three = slides_of([(0, 2), (1, 1)])
    with pytest.raises(SplitError, match="1 patients stand in both train and test: p0"):
        require_disjoint(Fold(train=[one], val=[three], test=[two]))


def test_the_table_of_folds_comes_back_and_may_not_change(tmp_path: Path) -> None:
    slides = slides_of([(i % 2, 1) for i in range(12)])
    folds = make_folds(slides, ["a", "b"], 3, 0)
    write_splits(tmp_path / "splits.csv", folds, ["a", "b"])
    table = read_splits(tmp_path / "splits.csv")
    assert table == {s.slide_id: i for i, fold in enumerate(folds) for s in fold.test}
    write_splits(tmp_path / "splits.csv", folds, ["a", "b"])
    with pytest.raises(RunError, match="the folds of this run's first start were others"):
        write_splits(tmp_path / "splits.csv", make_folds(slides, ["a", "b"], 3, 1), ["a", "b"])
