"""Official splits by slide and by patient, with and without a test part."""

from pathlib import Path

import pytest

from tcssa.errors import MissingDataError, SplitError
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import Fold, make_folds
from tcssa.mil.settings import SplitSettings
from tcssa.mil.tasks import Classes, Survival

SLIDES = [
    CohortSlide(f"p{p:02d}-{s}", f"p{p:02d}", p % 2, Path("x.h5"), 10)
    for p in range(24)
    for s in "ab"
]


def folds_of(
    path: Path, *, skip_missing: bool = False, slides: list[CohortSlide] = SLIDES
) -> tuple[list[Fold], list[str]]:
    told: list[str] = []
    settings = SplitSettings(files=path, val_share=0.25)
    folds = make_folds(
        slides,
        Classes(("a", "b")),
        5,
        0,
        settings,
        skip_missing=skip_missing,
        tell=told.append,
    )
    return folds, told


def mcat(tmp_path: Path, names: list[str], name: str = "splits_0.csv") -> Path:
    """MCAT's form: patients in columns train and val, of different lengths, and no test."""
    train, val = names[:16], [*names[16:], *[""] * 8]
    rows = [f"{i},{a},{b}" for i, (a, b) in enumerate(zip(train, val, strict=False))]
    (tmp_path / "splits").mkdir(exist_ok=True)
    (tmp_path / "splits" / name).write_text("\n".join([",train,val", *rows]) + "\n")
    return tmp_path / "splits"


def test_mcat_s_splits_of_patients_are_read_and_told(tmp_path: Path) -> None:
    (fold,), told = folds_of(mcat(tmp_path, [f"p{p:02d}" for p in range(24)]))
    assert sorted({slide.case_id for slide in fold.test}) == [f"p{p:02d}" for p in range(16, 24)]
    assert len(fold.test) == 16
    assert len(fold.val) + len(fold.train) == 32
    assert fold.val
    assert told[0] == "splits names patients: 24 patients with 48 slides"
    assert told[1].startswith("splits has no test part: its validation part is tested")


def test_clam_s_table_of_truths_is_read(tmp_path: Path) -> None:
    parts = ["train"] * 30 + ["val"] * 8 + ["test"] * 10
    rows = [
        ",".join([slide.slide_id, *(str(part == each) for each in ("train", "val", "test"))])
        for slide, part in zip(SLIDES, parts, strict=True)
    ]
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "splits_0_bool.csv").write_text("\n".join([",train,val,test", *rows]) + "\n")
    (folder / "splits_0_descriptor.csv").write_text(",train,val,test\na,1,2,3\n")
    (fold,), told = folds_of(folder)
    assert [slide.slide_id for slide in fold.train] == [s.slide_id for s in SLIDES[:30]]
    assert (len(fold.val), len(fold.test), told) == (8, 10, [])
    assert read_parts(folder / "splits_0_bool.csv") == read_parts(folder)


def test_the_order_of_names_in_splits_changes_nothing(tmp_path: Path) -> None:
    names = [f"p{p:02d}" for p in range(24)]
    one, _ = folds_of(mcat(tmp_path, names))
    other, _ = folds_of(mcat(tmp_path, names[:16][::-1] + names[16:][::-1]))
    assert one == other


def test_missing_words_in_splits_name_nobody(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("train,val,test\na,b,c\nd,NA,nan\ne,,\n")
    assert read_parts(tmp_path / "s.csv") == [
        {"a": "train", "d": "train", "e": "train", "b": "val", "c": "test"}
    ]
    (tmp_path / "f.csv").write_text("slide_id,fold_0\na,train\nb,NA\nc,test\n")
    assert read_parts(tmp_path / "f.csv") == [{"a": "train", "c": "test"}]


@pytest.mark.parametrize("skip_missing", [False, True])
def test_splits_of_another_cohort_are_shown_beside_it(tmp_path: Path, skip_missing: bool) -> None:
    with pytest.raises(MissingDataError) as caught:
        folds_of(mcat(tmp_path, [f"P{p}" for p in range(24)]), skip_missing=skip_missing)
    assert "it has P0, P1, P10 …, the cohort p00-a, p00-b, p01-a …; nearest: " in str(caught.value)
    assert str(caught.value.hint).startswith("the names do not match")


def test_slides_and_patients_mixed_are_two_readings(tmp_path: Path) -> None:
    names = [f"p{p:02d}" for p in range(23)]
    with pytest.raises(SplitError, match=r"names slides \(p23-a\) and patients \(p00, p01, p02 …"):
        folds_of(mcat(tmp_path, [*names, "p23-a"]))


def test_a_training_part_of_which_nothing_is_left_is_one_plain_error(tmp_path: Path) -> None:
    path = mcat(tmp_path, [f"p{p:02d}" for p in range(24)])
    with pytest.raises(SplitError, match="a fold has no training slide that the cohort has"):
        folds_of(path, skip_missing=True, slides=SLIDES[32:])


def test_a_small_training_part_gives_more_of_itself_to_validation(tmp_path: Path) -> None:
    told: list[str] = []
    settings = SplitSettings(files=mcat(tmp_path, [f"p{p:02d}" for p in range(24)]))
    (fold,) = make_folds(SLIDES, Classes(("a", "b")), 5, 0, settings, tell=told.append)
    assert {slide.label for slide in fold.val} == {0, 1}
    assert len(fold.val) == 4
    assert told[2] == "validation takes 12% of a training part, for some of every class"


def test_strata_of_no_slides_are_empty() -> None:
    assert not any(stratum.members.any() for stratum in Survival().strata([]))
