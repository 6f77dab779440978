"""Two evaluations, paired question by question."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from vqa_runs import write_rows, write_slidebench

from tcssa.errors import RunError, UsageError
from tcssa.reporter import Silent
from tcssa.vqa.evaluation.paired import compare_evaluations, mcnemar
from tcssa.vqa.evaluation.score_predictions import evaluate_predictions

ROWS = range(1, 25)


def right(row: int) -> str:
    """The right letter of a row of `write_slidebench`."""
    return "ABCD"[(row - 1) % 4]


def scored(folder: Path, name: str, answer: Callable[[int], str]) -> Path:
    """An evaluation of a system with these answers."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps([{"row_id": str(row), "answer": answer(row)} for row in ROWS]))
    bench = folder / "bench.csv"
    evaluate_predictions(path, "slidebench-tcga", bench, Silent(), out=folder / name)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paired")
    write_slidebench(folder / "bench.csv", 8)
    scored(folder, "constant", lambda _: "A")
    scored(folder, "good", lambda row: "A" if row % 6 == 0 else right(row))
    return folder


def test_questions_that_one_alone_has_right_are_counted(folder: Path, tmp_path: Path) -> None:
    found = compare_evaluations([folder / "constant", folder / "good"], Silent(), out=tmp_path)
    (other,) = found.others
    overall, *categories = other.groups
    assert (found.first, other.name, found.num_slides) == ("constant", "good", 8)
    assert (overall.num_rows, overall.first, overall.other) == (24, 0.25, 20 / 24)
    assert (overall.only_first, overall.only_other) == (0, 14)
    assert overall.p_value == pytest.approx(2 / 2**14)
    assert overall.difference["value"] == pytest.approx(14 / 24)
    low, high = overall.difference["low"], overall.difference["high"]
    assert low is not None
    assert high is not None
    assert 0 < low < 14 / 24 < high
    broad = [group for group in categories if group.name.startswith("broad")]
    assert [group.name for group in broad] == [
        "broad: Clinical", "broad: Diagnosis", "broad: Microscopy",
    ]  # fmt: skip
    assert sum(group.only_other for group in broad) == overall.only_other
    assert json.loads((tmp_path / "comparison.json").read_text())["first"] == "constant"


def test_mcnemars_test_is_exact() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(1, 8) == mcnemar(8, 1) == pytest.approx(2 * (1 + 9) / 512)


def test_other_questions_are_refused(folder: Path, tmp_path: Path) -> None:
    write_slidebench(tmp_path / "bench.csv", 12, rows_a_slide=2)
    elsewhere = scored(tmp_path, "elsewhere", right)
    with pytest.raises(UsageError, match="was evaluated on another file"):
        compare_evaluations([folder / "good", elsewhere], Silent())
    with pytest.raises(UsageError, match="two or more different evaluations"):
        compare_evaluations([folder / "good", folder / "good"], Silent())
    log = elsewhere / "answers.jsonl"
    log.write_text(log.read_text().replace('"status": "answered"', '"status": "odd"', 1))
    with pytest.raises(RunError, match="line 2 is no answer"):
        compare_evaluations([elsewhere, scored(tmp_path, "again", right)], Silent())


def test_categories_are_of_the_rows_that_the_evaluation_read(tmp_path: Path) -> None:
    rows = [["1", "a;b", "x", "Diagnosis"], ["1", "a", "x", "Clinical"], ["2", "c", "x", "Other"]]
    write_rows(tmp_path / "bench.csv", [[*each, "y", "What?", *"abcd", "A"] for each in rows])
    pair = [scored(tmp_path, "a", lambda _: "A"), scored(tmp_path, "b", lambda _: "B")]

    def categories() -> set[str]:
        (other,) = compare_evaluations(pair, Silent()).others
        return {group.name for group in other.groups if group.name.startswith("broad")}

    assert categories() == {"broad: Diagnosis", "broad: Other"}
    metrics = json.loads((pair[0] / "metrics.json").read_text())
    metrics["asked"]["several"] = None  # as an evaluation that left rows of several slides out
    (pair[0] / "metrics.json").write_text(json.dumps(metrics))
    assert categories() == {"broad: Clinical", "broad: Other"}


def test_without_the_question_file_all_rows_are_compared(folder: Path, tmp_path: Path) -> None:
    write_slidebench(tmp_path / "bench.csv", 8)
    pair = [scored(tmp_path, "a", right), scored(tmp_path, "b", lambda _: "B")]
    (tmp_path / "bench.csv").unlink()
    reporter = Silent()
    (other,) = compare_evaluations(pair, reporter).others
    assert [group.name for group in other.groups] == ["overall"]
    assert "no categories are shown" in reporter.warnings[0]
