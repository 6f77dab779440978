"""Commands on labels that are no classes."""

from pathlib import Path

import pytest
from cohorts import write_labelled, write_survival
from command_line import SMALL, Run


@pytest.fixture
def survival(tcssa: Run, tmp_path: Path) -> Path:
    """A run of survival, as the command trains it."""
    cohort = write_survival(tmp_path)
    data = ("--labels", cohort.labels, "--features", cohort.features, "--kind", "survival")
    done = tcssa("train-mil", *data, *SMALL, "--time-spans", 3, "--out", tmp_path / "run")
    assert done.code == 0
    assert "test c-index" in done.stdout
    assert "log-rank p = " in done.stdout
    return tmp_path / "run"


def test_a_run_of_survival_is_evaluated_swept_and_not_taken_for_classes(
    tcssa: Run, tmp_path: Path, survival: Path
) -> None:
    done = tcssa("eval", survival, "--json")
    assert done.json["task"] == {"kind": "survival", "num_spans": 3, "edges": []}
    assert set(done.json["pooled"]["c_index"]) == {"value", "low", "high"}
    shown = tcssa("eval", survival)
    assert "c-index" in shown.stdout
    assert "32 patients had an event" in shown.stdout
    refused = tcssa("inspect", "slots", survival, "--out", tmp_path / "slots")
    assert refused.code == 1
    assert "learnt no plain classes" in refused.stderr
    flags = ("--what", "classifier", "--format", "onnx", "--out", tmp_path / "artefact")
    refused = tcssa("export", survival, *flags)
    assert refused.code == 2
    assert "learnt labels of kind survival" in refused.stderr
    config = survival / "config.resolved.yaml"
    flags = ("--over", "num_slots=4", "--jobs", 2, "--out", tmp_path / "sweep")
    swept = tcssa("sweep", "--config", config, *flags)
    assert swept.code == 0
    assert "c-index (95 %)" in swept.stdout
    assert "bal. acc." not in swept.stdout
    assert (tmp_path / "sweep" / "c_index_by_slots.png").exists()
    header = (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()[0]
    assert header.startswith("num_slots,c_index,c_index_low,c_index_high,")


def test_several_targets_are_shown_one_by_one(tcssa: Run, tmp_path: Path) -> None:
    rows = [{"ER": "ab"[i % 2], "PR": "ab"[i % 2] if i > 2 else ""} for i in range(18)]
    cohort = write_labelled(tmp_path, rows, [0.9 * (i % 2) for i in range(18)])
    arguments = ("train-mil", "--labels", cohort.labels, "--features", cohort.features, *SMALL)
    out = ("--target", "ER", "--target", "PR", "--out", tmp_path / "run")
    done = tcssa(*arguments, *out)
    assert done.code == 0
    assert "PR: 15 slides of 15 patients" in done.stdout
    assert "target PR is not known for 3 of 18 slides" in done.stderr
    refused = tcssa(*arguments, *out[:-1], tmp_path / "other", "--model", "clam_sb")
    assert refused.code == 2
    assert "cannot learn labels of kind several" in refused.stderr
    assert not (tmp_path / "other").exists()
