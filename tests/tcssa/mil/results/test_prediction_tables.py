"""Tables of predictions: what was written comes back, and damage is named with its line."""

from pathlib import Path

import pytest

from tcssa.errors import TableError
from tcssa.mil.results.prediction_tables import read_predictions, write_predictions
from tcssa.mil.tasks import Classes, MilTask
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.tasks.survival import Survival

SIGNED = Classes(("1", "-1"))


def test_classes_that_differ_by_a_sign_come_back(tmp_path: Path) -> None:
    rows = [
        Prediction("s,1", "c", 0, (0.1, 0.9), 0, (0.0,)),
        Prediction("s2", 'c"2', 1, (1e-300, 1.0), None, (1.0,)),
    ]
    write_predictions(tmp_path / "p.csv", rows, SIGNED)
    assert read_predictions(tmp_path / "p.csv", SIGNED) == rows


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("s,c,2,1,0,0.5,0.5", "label '2' is none of 1, -1"),
        ("s,c,1,1,0,nan,0.5", "prob_1 is nan, no probability"),
        ("s,c,1,1,0,0.5,1.5", "prob_-1 is 1.5, no probability"),
        ("s,c,1,1,0,-0.5,0.5", "prob_1 is -0.5, no probability"),
        ("s,c,1,1,0,half,0.5", "'half' is no number"),
        ("s,c,1,1,0,0_1,0.5", "'0_1' is no number"),
        ("s,c,1,1,0,,0.5", "'' is no number"),
        ("s,c,1,1,-1,0.5,0.5", "fold '-1' is no number of a fold"),
        ("s,c,1,1,0.5,0.5,0.5", "fold '0.5' is no number of a fold"),
        ("s,c,1,1,\uff11,0.5,0.5", "fold '\uff11' is no number of a fold"),
        (",c,1,1,0,0.5,0.5", "the slide_id is empty"),
        ("s,,1,1,0,0.5,0.5", "the case_id is empty"),
    ],
)
def test_a_cell_that_cannot_be_is_named(tmp_path: Path, row: str, fault: str) -> None:
    header = "slide_id,case_id,label,predicted,fold,prob_1,prob_-1\n"
    (tmp_path / "p.csv").write_text(f"{header}r,c,1,1,0,0.5,0.5\n{row}\n")
    with pytest.raises(TableError) as caught:
        read_predictions(tmp_path / "p.csv", SIGNED)
    assert caught.value.faults == [f"line 3: {fault}"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("s,c,-1,1,0.5,0,0.5,0.5", "line 2: time -1 is no time"),
        ("s,c,inf,1,0.5,0,0.5,0.5", "line 2: time inf is no time"),
        ("s,c,3,2,0.5,0,0.5,0.5", "line 2: event '2' is neither 1"),
        ("s,c,3,1,0.5,0,0.5,7", "line 2: survival_2 is 7.0, no probability"),
    ],
)
def test_a_time_or_event_that_cannot_be_is_named(tmp_path: Path, row: str, fault: str) -> None:
    header = "slide_id,case_id,time,event,risk,fold,survival_1,survival_2\n"
    (tmp_path / "p.csv").write_text(f"{header}{row}\n")
    with pytest.raises(TableError, match=fault):
        read_predictions(tmp_path / "p.csv", Survival(2))


@pytest.mark.parametrize("task", [Classes(("a", "b", "c")), Survival(2)])
def test_the_table_of_another_task_lacks_columns(tmp_path: Path, task: MilTask) -> None:
    write_predictions(tmp_path / "p.csv", [Prediction("s", "c", 0, (0.5, 0.5), 0, (0.0,))], SIGNED)
    with pytest.raises(TableError, match="lacks the columns"):
        read_predictions(tmp_path / "p.csv", task)
