"""Missing labels mean the same in every kind, and the order of rows means nothing."""

from pathlib import Path

import pytest

from tcssa.errors import TableError, UsageError
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks.reading import TaskLabels, read_task

WORDS = ["", "NA", "nan", "N/A", "null", "NULL", "NaN", "<NA>"]


def read(tmp_path: Path, text: str, **settings: object) -> TaskLabels:
    (tmp_path / "t.csv").write_text(text)
    values = {"labels": tmp_path / "t.csv", **settings}
    return read_task(CohortSettings.model_validate(values))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("kind", ["classes", "ordinal"])
def test_a_missing_label_is_no_class_and_no_grade(tmp_path: Path, word: str, kind: str) -> None:
    text = f"slide_id,label\nS0,2\nS1,{word}\nS2,0\nS3,1.0\nS4,1\n"
    with pytest.raises(TableError, match="line 3: the label is"):
        read(tmp_path, text, kind=kind)
    found = read(tmp_path, text, kind=kind, skip_missing=True)
    assert found.task.label_names == ["0", "1", "2"]
    assert [slide.label for slide in found.slides] == [(2.0,), (0.0,), (1.0,), (1.0,)]
    assert list(found.left_out) == ["S1"]


@pytest.mark.parametrize(
    ("labels", "is_told"),
    [("0.5 1 2", True), (" ".join(map(str, range(11))), True), ("0 1 2", False), ("1 2 x", False)],
)
def test_classes_that_look_like_numbers_are_told(
    tmp_path: Path, labels: str, is_told: bool
) -> None:
    rows = [f"S{i},{label}" for i, label in enumerate(labels.split())]
    text = "\n".join(["slide_id,label", *rows])
    assert any("--kind regression" in told for told in read(tmp_path, text).readings) == is_told


@pytest.mark.parametrize("word", WORDS)
def test_a_missing_target_is_unknown(tmp_path: Path, word: str) -> None:
    text = f"slide_id,ER,PR\nS0,pos,{word}\nS1,neg,1\nS2,{word},0\n"
    found = read(tmp_path, text, targets=["ER", "PR"])
    assert [slide.label for slide in found.slides] == [(1.0, None), (0.0, 1.0), (None, 0.0)]
    assert found.left_out == {}


def test_labels_of_other_classes_are_unknown_targets_when_asked(tmp_path: Path) -> None:
    text = "slide_id,ER\nS0,pos\nS1,neg\nS2,equivocal\n"
    settings = {"targets": ["ER"], "classes": ["neg", "pos"]}
    with pytest.raises(TableError, match="line 4: target ER: label 'equivocal' is none of neg"):
        read(tmp_path, text, **settings)
    found = read(tmp_path, text, **settings, skip_missing=True)
    assert found.slides[2].label == (None,)
    assert "target ER: 1 label of other classes count as unknown: equivocal" in found.readings


def test_a_table_of_patients_is_a_label_table(tmp_path: Path) -> None:
    (tmp_path / "slides.csv").write_text("PATIENT,FILENAME\nP2,S2\nP1,S1\n")
    (tmp_path / "t.csv").write_text("PATIENT,label\nP1,a\nP2,b\n")
    settings = CohortSettings.model_validate(
        {"patients": tmp_path / "t.csv", "slide_table": tmp_path / "slides.csv"}
    )
    assert (settings.labels, settings.patients) == (tmp_path / "t.csv", None)
    found = read_task(settings)
    assert {slide.slide_id: slide.label for slide in found.slides} == {"S1": (0.0,), "S2": (1.0,)}
    with pytest.raises(ValueError, match="labels and patients are both given"):
        CohortSettings(labels=Path("a"), patients=Path("b"))


def test_survival_refuses_what_has_no_meaning_for_it(tmp_path: Path) -> None:
    text = "slide_id,time,event\nS0,5,1\n"
    with pytest.raises(UsageError, match="--class has no meaning with --kind survival"):
        read(tmp_path, text, kind="survival", classes=["a", "b"])
