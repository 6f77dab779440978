"""The whole chain on smaller slides and few epochs; nox -s wheel runs it as users do."""

from functools import partial
from pathlib import Path

import pytest
from command_line import Run

from tcssa.synthetic import cohort
from tcssa.synthetic.spec import SlideSpec


def test_demo_runs_the_whole_chain(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "SlideSpec", partial(SlideSpec, width=1024, height=800))
    monkeypatch.setenv("TCSSA_TRAIN__EPOCHS", "6")
    done = tcssa("demo", "--out", tmp_path, "--slides", "18", "--json")
    assert done.code == 0
    assert done.json["num_patches"] >= 18
    assert done.json["slots_onnx_against_torch"] < 2e-5
    assert (tmp_path / "report.html").stat().st_size > 100_000
