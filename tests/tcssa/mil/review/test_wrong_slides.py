"""The wrong predictions of a test, the most confident first."""

import csv
from pathlib import Path

from tcssa.mil.review.wrong_slides import write_wrong, wrong_slides
from tcssa.mil.tasks import Classes, Several, Survival
from tcssa.mil.tasks.prediction import Prediction

TASK = Classes(("a", "b"))


def row(name: str, label: int, probs: tuple[float, ...], fold: int | None = 0) -> Prediction:
    return Prediction(name, f"p-{name}", label, probs, fold, (float(label),))


ROWS = [
    row("right", 0, (0.99, 0.01)),
    row("unsure", 0, (0.45, 0.55), 1),
    row("sure", 1, (0.9, 0.1), None),
]


def test_they_are_those_whose_most_probable_class_is_another() -> None:
    wrong = wrong_slides(TASK, ROWS)
    assert [(one.row.slide_id, one.label, one.predicted) for one in wrong] == [
        ("sure", "b", "a"), ("unsure", "a", "b"),
    ]  # fmt: skip
    assert wrong[0].caption == "sure: a with 0.900, is b"
    assert wrong[1].caption == "unsure: b with 0.550, is a, fold 1"


def test_the_table_has_a_row_each_with_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    write_wrong(path, wrong_slides(TASK, ROWS), [tmp_path / "wrong" / "01-sure.jpg"])
    with path.open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first == {
        "slide_id": "sure", "case_id": "p-sure", "target": "label", "label": "b",
        "predicted": "a", "probability": "0.9", "fold": "", "map": "wrong/01-sure.jpg",
    }  # fmt: skip
    assert (second["fold"], second["map"]) == ("1", "")


def test_each_target_may_be_wrong_by_itself() -> None:
    task = Several({"er": TASK, "pr": TASK})
    rows = [
        Prediction("s", "p", 0, (0.3, 0.7, 0.2, 0.8), 0, (0.0, 0.0)),
        Prediction("t", "q", 1, (0.1, 0.9, 0.8, 0.2), 0, (1.0, None)),
    ]
    found = [(one.row.slide_id, one.target, one.probability) for one in wrong_slides(task, rows)]
    assert found == [("s", "pr", 0.8), ("s", "er", 0.7)]


def test_labels_without_classes_are_never_wrong() -> None:
    survived = Prediction("s", "p", 1, (0.9, 0.5), 0, (3.0, 1.0))
    assert wrong_slides(Survival(num_spans=2), [survived]) == []
