"""A page of an evaluation takes names of slides as text."""

from pathlib import Path
from typing import Any

from html_pages import read_page

from tcssa.mil.evaluation.evaluation_page import write_evaluation_page
from tcssa.mil.results.metrics_file import FoldScores, RunMetrics, Spread
from tcssa.mil.tasks.classes import Classes


def test_a_slide_named_like_markup_is_left_out_by_its_name(tmp_path: Path) -> None:
    task = Classes(("a", "b"))
    names = task.metrics
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    metrics: dict[str, Any] = {
        "classes": ["a", "b"],
        "pooled": {"num_slides": 4, "num_cases": 3, **dict.fromkeys(names, score)},
        "run": {"name": "r<i>", "folder": "f", "model": "m", "folds": 2, "checkpoint_sha256": "c"},
        "predicted_by": "all folds", "labels": "l.csv", "cohort": {"classes": ["a", "b"]},
        "skipped": {"<script>x</script>": "no features"}, "unit": "slide", "readings": [],
    }  # fmt: skip
    fold = FoldScores(
        fold=0, best_epoch=0, val_loss=0.5, val_scores={}, effective_slots=None,
        test=dict.fromkeys(names, 0.5), num_test_slides=4,
    )  # fmt: skip
    spreads = dict.fromkeys(names, Spread(mean=0.5, sd=None))
    own = RunMetrics(task=task, pooled=metrics["pooled"], over_folds=spreads, folds=[fold])
    write_evaluation_page(tmp_path, task, metrics, own, ["2 patients & more were trained on"])
    page = read_page(tmp_path / "report.html")
    assert "r<i> on new slides" in page.text
    assert ["left out", "<script>x</script>: no features"] in page.cells
    assert ["classes", "a; b"] in page.cells
    interval = "0.250 – 0.750"
    assert ["AUC", "0.500", interval, "0.500", interval] in page.cells
    assert "2 patients & more were trained on" in page.text
