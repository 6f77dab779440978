"""Runs compared on the same slides."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cohorts import small_run, write_cohort
from html_pages import read_page

from tcssa.errors import RunError, UsageError
from tcssa.mil.comparison.compare import compare
from tcssa.mil.settings import ModelSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    settings = small_run(write_cohort(folder, shift=0.3), epochs=4)
    train(settings, folder / "slots", Silent())
    other = settings.model_copy(update={"model": ModelSettings(name="mean")})
    train(other, folder / "mean", Silent())
    return folder / "slots", folder / "mean"


def rewritten(run: Path, out: Path, old: str, new: str) -> Path:
    """A copy of a run whose predictions are changed."""
    shutil.copytree(run, out)
    table = out / "predictions.csv"
    table.write_text(table.read_text().replace(old, new))
    return out


def test_folds_of_different_scales_are_warned_of(runs: tuple[Path, Path], tmp_path: Path) -> None:
    rows = (runs[0] / "predictions.csv").read_text().splitlines()
    header, cells = rows[0].split(","), [row.split(",") for row in rows[1:]]
    at = {name: header.index(name) for name in ("label", "fold", "prob_a", "prob_b")}
    for row in cells:  # each fold ranks all of its slides rightly, on a scale of its own
        b = 0.1 + 0.3 * int(row[at["fold"]]) + 0.1 * (row[at["label"]] == "b")
        row[at["prob_a"]], row[at["prob_b"]] = str(1 - b), str(b)
    shifted = tmp_path / "shifted"
    shutil.copytree(runs[0], shifted)
    table = "\n".join(map(",".join, [header, *cells]))
    (shifted / "predictions.csv").write_text(table + "\n")
    reporter = Silent()
    compare([runs[1], shifted], "auc", reporter)
    (warning,) = (each for each in reporter.warnings if each.startswith("shifted: "))
    assert "is below the folds' own, 1.000 on average" in warning


def test_figures_are_those_of_the_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare(runs, "auc", Silent(), out=tmp_path)
    pooled = [json.loads((run / "metrics.json").read_text())["pooled"]["auc"] for run in runs]
    assert [run.score for run in found.runs] == pooled
    assert [run.model for run in found.runs] == ["tcssa", "mean"]
    first, second = found.runs
    assert first.difference is None
    assert second.difference is not None
    assert second.difference["value"] == pytest.approx(pooled[1]["value"] - pooled[0]["value"])
    assert second.difference["low"] <= second.difference["value"] <= second.difference["high"]
    folds = json.loads((runs[0] / "metrics.json").read_text())["folds"]
    assert first.fold_mean == pytest.approx(np.mean([fold["test"]["auc"] for fold in folds]))
    assert json.loads((tmp_path / "comparison.json").read_text())["metric"] == "auc"
    assert (tmp_path / "comparison.png").stat().st_size > 5000
    page = read_page(tmp_path / "comparison.html")
    assert [cells[0] for cells in page.cells] == ["run", *(run.name for run in found.runs)]
    assert len(page.attributes("img")) == 1


def test_a_run_against_its_copy_differs_by_nothing(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    _, second = compare([runs[0], copy], "auc", Silent()).runs
    assert second.difference == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert second.p_value == 1.0


def test_pairing_makes_the_interval_of_a_difference_narrow(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    # one slide's probability a little off: the runs are nearly one, and so is their difference
    line = (runs[0] / "predictions.csv").read_text().splitlines()[1]
    changed = ",".join([*line.split(",")[:-2], "0.5", "0.5"])
    near = rewritten(runs[0], tmp_path / "near", line, changed)
    first, second = compare([runs[0], near], "brier", Silent()).runs
    assert second.difference is not None
    width = second.difference["high"] - second.difference["low"]
    assert width < 0.5 * (first.score["high"] - first.score["low"])


def test_other_slides_or_labels_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    renamed = rewritten(runs[0], tmp_path / "renamed", "s03,", "s99,")
    with pytest.raises(RunError, match=r"2 test slides are not those of .*: s03, s99"):
        compare([runs[0], renamed], "auc", Silent())
    repeated = rewritten(runs[0], tmp_path / "repeated", "", "")
    rows = (repeated / "predictions.csv").read_text().splitlines()
    (repeated / "predictions.csv").write_text("\n".join([*rows, *rows[1:]]) + "\n")
    with pytest.raises(RunError, match="another number of times"):
        compare([runs[0], repeated], "auc", Silent())
    relabelled = rewritten(runs[0], tmp_path / "relabelled", "s03,p03,b", "s03,p03,a")
    with pytest.raises(RunError, match="its labels differ: s03"):
        compare([runs[0], relabelled], "auc", Silent())


def test_what_makes_no_sense_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two or more different runs"):
        compare([runs[0], runs[0]], "auc", Silent())
    with pytest.raises(UsageError, match="unknown metric 'roc'"):
        compare(runs, "roc", Silent())
    with pytest.raises(RunError, match="no run directory"):
        compare([runs[0], tmp_path], "auc", Silent())
