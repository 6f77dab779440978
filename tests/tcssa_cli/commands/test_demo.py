"""The whole chain on smaller slides, slots and folds; nox -s wheel runs it as users do."""

from functools import partial
from pathlib import Path

import pytest
from command_line import Run
from html_pages import read_page

from tcssa.synthetic import LABELS, cohort
from tcssa.synthetic.spec import SlideSpec


def test_demo_runs_the_whole_chain(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "SlideSpec", partial(SlideSpec, width=640, height=560))
    small = {"TRAIN__EPOCHS": 2, "TRAIN__FOLDS": 3, "MODEL__NUM_SLOTS": 6, "MODEL__HIDDEN_DIM": 16}
    for name, value in small.items():
        monkeypatch.setenv(f"TCSSA_{name}", str(value))
    done = tcssa("demo", "--out", tmp_path, "--slides", "18", "--json")
    assert done.code == 0
    assert done.json["num_patches"] >= 18
    assert done.json["slots_onnx_against_torch"] < 2e-5
    assert list(done.json["compared"]) == ["tcssa", "abmil", "mean"]
    assert done.json["new_slide"]["predicted"] in LABELS
    assert (tmp_path / "heatmaps" / "maps" / "DEMO-018.png").is_file()
    assert "was predicted" in read_page(tmp_path / "report.html").text
