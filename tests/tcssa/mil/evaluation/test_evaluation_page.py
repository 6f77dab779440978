"""A page of an evaluation takes names of slides as text."""

from pathlib import Path
from typing import Any

from html_pages import read_page

from tcssa.mil.evaluation.evaluation_page import write_evaluation_page
from tcssa.mil.tasks.classes import Classes


def test_a_slide_named_like_markup_is_left_out_by_its_name(tmp_path: Path) -> None:
    names = Classes(("a", "b")).metrics
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    metrics: dict[str, Any] = {
        "classes": ["a", "b"],
        "pooled": {"num_slides": 4, "num_cases": 3, **dict.fromkeys(names, score)},
        "run": {"name": "r<i>", "folder": "f", "model": "m", "folds": 2, "checkpoint_sha256": "c"},
        "predicted_by": "all folds", "labels": "l.csv", "cohort": {"classes": ["a", "b"]},
        "skipped": {"<script>x</script>": "no features"},
    }  # fmt: skip
    write_evaluation_page(tmp_path, metrics, metrics, ["2 patients & more were trained on"])
    page = read_page(tmp_path / "report.html")
    assert "r<i> on new slides" in page.text
    assert ["left out", "<script>x</script>: no features"] in page.cells
    assert ["classes", "a; b"] in page.cells
    interval = "0.250 – 0.750"
    assert ["AUC", "0.500", interval, "0.500", interval] in page.cells
    assert "2 patients & more were trained on" in page.text
