"""The notebooks run from their first cell to their last, in an empty folder."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tcssa.synthetic import SlideSpec

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"


def code_cells(notebook: str) -> list[dict[str, Any]]:
    cells = json.loads((TUTORIALS / notebook).read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(cells: list[dict[str, Any]], **parameters: int) -> dict[str, Any]:
    """The names that the cells leave, with their parameters made small."""
    names: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= parameters
    return names


def test_the_library_in_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = code_cells("notebook.ipynb")
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    monkeypatch.chdir(tmp_path)
    small = partial(SlideSpec, width=1024, height=800)
    monkeypatch.setattr("tcssa.synthetic.cohort.SlideSpec", small)
    names = run(cells, num_slides=9, epochs=2)
    assert names["report"].count("done") == 9
    assert names["metrics"].final.num_slides == 9
    assert sum(names["prediction"].probabilities.values()) == pytest.approx(1)
    printed = capsys.readouterr().out
    assert "are not finite" in printed


def test_trust_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the notebook keeps was printed by these cells: line by line, but for the figures."""
    cells = code_cells("trust-a-number.ipynb")
    kept = [output for cell in cells for output in cell["outputs"]]
    texts = "".join(line for output in kept for line in output.get("text", []))
    assert sum("image/png" in output.get("data", {}) for output in kept) == 1
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = run(cells, num_slides=24, epochs=2)
    assert [run.name for run in names["found"].runs] == ["run-tcssa", "run-abmil", "run-mean"]
    assert names["parts"].shape == names["marked"].shape
    printed = capsys.readouterr().out
    assert without_figures(printed) == without_figures(texts)


def without_figures(text: str) -> list[str]:
    return ["".join(each for each in line if each.isalpha()) for line in text.splitlines()]
