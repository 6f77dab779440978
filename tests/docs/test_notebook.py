"""The notebook runs from its first cell to its last, in an empty folder."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tcssa.synthetic import SlideSpec

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "notebook.ipynb"


def test_every_cell_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    monkeypatch.chdir(tmp_path)
    small = partial(SlideSpec, width=1024, height=800)
    monkeypatch.setattr("tcssa.synthetic.cohort.SlideSpec", small)
    names: dict[str, Any] = {}
    for cell in code:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= {"num_slides": 9, "epochs": 2}
    assert names["report"].count("done") == 9
    assert names["metrics"].final.num_slides == 9
    assert sum(names["prediction"].probabilities.values()) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert "are not finite" in printed
