"""`tcssa eval --benchmark` as a user calls it."""

import csv
import json
from pathlib import Path

import pytest
from command_line import Run
from html_pages import read_page
from vqa_runs import write_slidebench, write_slides, write_tiny_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, features of five slides, and a benchmark of six."""
    folder = tmp_path_factory.mktemp("vqa")
    write_tiny_run(folder)
    write_slides(folder / "features", range(5))
    write_slidebench(folder / "bench.csv", 6)
    return folder


def arguments(folder: Path) -> tuple[object, ...]:
    file = folder / "bench.csv"
    return ("--benchmark", "slidebench-tcga", file, "--features", folder / "features")


def test_a_benchmark_is_scored_and_shown(tcssa: Run, folder: Path) -> None:
    done = tcssa("eval", folder / "run", *arguments(folder), "--permute")
    assert done.code == 0, done.stderr
    for shown in (
        "18 questions asked", "blank slots", "slots of another slide", "majority letter",
        "longest option", "Microscopy", "Options in every order", "15 answered, 3 no_features",
    ):  # fmt: skip
        assert shown in done.stdout, shown
    assert "which count as wrong: 3 no_features" in done.stderr
    out = folder / "run" / "eval-slidebench-tcga"
    assert {"answers.jsonl", "metrics.json", "comparison.png"} <= {p.name for p in out.iterdir()}
    page = read_page(out / "report.html")
    first = [cells[0] for cells in page.cells]
    assert {"run", "control: blank slots", "Microscopy", "SHA-256"} <= set(first)
    assert "3 no features" in page.text
    assert "Options in every order" in page.text
    assert "TC-SSA, retrospective" in first
    assert "random choice (expected)" in first
    assert len(page.attributes("img")) == 1
    again = tcssa("eval", folder / "run", *arguments(folder), "--permute", "--json")
    stored = json.loads((out / "metrics.json").read_text())
    assert again.json["scores"] == stored["scores"]
    assert again.json["warnings"]


def test_predictions_of_a_file_are_compared_with_a_run(
    tcssa: Run, folder: Path, tmp_path: Path
) -> None:
    mine = tcssa("eval", folder / "run", *arguments(folder), "--out", tmp_path / "mine", "--json")
    assert mine.code == 0, mine.stderr
    answers = [{"row_id": str(row), "answer": "A"} for row in range(1, 19)]
    path = tmp_path / "theirs.jsonl"
    path.write_text("\n".join(json.dumps(answer) for answer in answers))
    done = tcssa(
        "eval", "--benchmark", "slidebench-tcga", folder / "bench.csv", "--predictions", path,
        "--out", tmp_path / "theirs", "--compare", tmp_path / "mine",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "theirs" in done.stdout
    assert (tmp_path / "theirs" / "comparison.png").exists()
    over = tcssa(
        "eval", "--benchmark", "slidebench-tcga", folder / "bench.csv", "--predictions", path,
        "--out", tmp_path / "mine",
    )  # fmt: skip
    assert "answers.jsonl: holds the answers of a model" in over.stderr
    paired = tcssa("compare", tmp_path / "mine", tmp_path / "theirs")
    assert paired.code == 0, paired.stderr
    assert "theirs beside run: accuracy, all rows" in paired.stdout
    assert "broad: Diagnosis" in paired.stdout
    other = tcssa("compare", tmp_path / "mine", tmp_path / "theirs", "--metric", "auc")
    assert other.stderr.startswith("error  --metric and --target are of runs of train-mil")


def test_other_systems_answers_are_read_strictly_and_leniently(
    tcssa: Run, folder: Path, tmp_path: Path
) -> None:
    """A table as SlideChat writes it: the benchmark's columns, and what the model said."""
    rows = list(csv.reader((folder / "bench.csv").read_text().splitlines()))
    wrong = {"A": "B", "B": "C", "C": "D", "D": "A"}
    said = [wrong[row[-1]] if n else f"{row[-1]}, since it is" for n, row in enumerate(rows[1:])]
    with (tmp_path / "out.csv").open("w", newline="") as stream:
        more = zip(rows, ["Output", *said], strict=True)
        csv.writer(stream).writerows([[*row, cell] for row, cell in more])
    given = ("eval", *arguments(folder)[:3], "--predictions", tmp_path / "out.csv")
    done = tcssa(*given, "--out", tmp_path / "out")
    assert done.code == 0, done.stderr
    assert "the answers are in 'Output'" in done.stderr
    assert "read leniently (+1)" in done.stdout
    assert "fitted on the other slides" in " ".join(done.stdout.split())
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["scores"]["overall"]["accuracy"]["value"] == 0
    assert found["lenient"]["overall"]["accuracy"]["value"] == pytest.approx(1 / 18)
    assert found["predictions"]["column"] == "Output"
    assert "read leniently" in read_page(tmp_path / "out" / "report.html").text
    gold = tcssa(*given, "--out", tmp_path / "gold", "--answer-column", "Answer")
    assert "every answer is right: make sure" in gold.stderr


def test_several_processes_are_refused(
    tcssa: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    done = tcssa("eval", folder / "run", *arguments(folder))
    assert done.code == 2
    assert "works in one process" in done.stderr


def test_an_evaluation_of_another_file_is_not_compared(
    tcssa: Run, folder: Path, tmp_path: Path
) -> None:
    other = tcssa(
        "eval", folder / "run", *arguments(folder), "--limit", 3, "--out", tmp_path / "three"
    )
    assert other.code == 0, other.stderr
    assert "no benchmark figure" in other.stdout
    done = tcssa(
        "eval", folder / "run", *arguments(folder), "--out", tmp_path / "all",
        "--compare", tmp_path / "three",
    )  # fmt: skip
    assert done.code == 2
    assert "was asked 3 rows of the benchmark, this one 18" in done.stderr


def test_runs_and_options_that_do_not_go_together(
    tcssa: Run, folder: Path, trained: Path, tmp_path: Path
) -> None:
    vqa, mil = folder / "run", trained / "run"
    cases = [
        ((vqa,), "is scored on a benchmark"),
        ((mil, *arguments(folder)), "is a run of train-mil"),
        ((mil, "--permute"), "--permute is for VQA runs"),
        ((vqa, *arguments(folder), "--labels", tmp_path / "l.csv"), "--labels is for MIL runs"),
        ((vqa, *arguments(folder)[:3]), "the slides' features are missing"),
        (arguments(folder), "no run was given"),
        ((), "no run was given"),
        ((vqa, *arguments(folder), "--predictions", tmp_path / "p"), "has no part in it"),
        ((*arguments(folder)[:3], "--predictions", tmp_path / "p"), "needs --out"),
        ((vqa, "--benchmark", "no-such", folder / "bench.csv"), "'slidebench-tcga', "),
        ((vqa, *arguments(folder), "--limit", 0), "limit: Input should be greater than"),
        (
            (*arguments(folder)[:3], "--predictions", tmp_path / "p", "--permute"),
            "--permute is for",
        ),
    ]
    for given, message in cases:
        done = tcssa("eval", *given)
        assert done.code == 2, given
        assert message in done.stderr, done.stderr
