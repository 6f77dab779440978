"""A page of a sweep has a column for each setting and metric, and names the failed runs."""

from pathlib import Path

from html_pages import read_page

from tcssa.mil.sweep.sweep_page import write_sweep_page
from tcssa.mil.sweep.sweep_result import SweepResult


def test_settings_of_some_runs_only_and_failed_runs_are_shown(tmp_path: Path) -> None:
    scores = {"auc_low": None, "auc_high": None, "auc_fold_mean": 0.7, "auc_fold_sd": None}
    rows = [
        {"model": "mean", "auc": None, **scores, "brier": 0.25, "effective_slots": None},
        {"model": "tcssa", "num_slots": 8, "auc": 0.75, **scores, "brier": 0.2,
         "effective_slots": 5.25},
    ]  # fmt: skip
    result = SweepResult(tmp_path, rows, failed=[("model=<b>", "40 folds & 3 slides")])
    write_sweep_page(result, ["model", "num_slots"], None)
    page = read_page(tmp_path / "sweep.html")
    assert page.cells == [
        ["model", "num_slots", "AUC, pooled", "95 % interval", "folds, mean ± SD",
         "Brier score (low is good)", "slots in use"],
        ["mean", "–", "not defined", "–", "0.700 ± 0.000", "0.250", "–"],
        ["tcssa", "8", "0.750", "–", "0.700 ± 0.000", "0.200", "5.2"],
        ["run", "reason"],
        ["model=<b>", "40 folds & 3 slides"],
    ]  # fmt: skip
    assert not page.attributes("img")
