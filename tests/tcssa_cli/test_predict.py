"""tcssa predict, as a user gives it."""

from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag


@pytest.fixture
def new(tmp_path: Path) -> Path:
    for i in range(2):
        write_bag(tmp_path / "new" / f"n{i}.h5", 20, seed=60 + i, shift=0.9 * i)
    return tmp_path / "new"


def test_a_run_predicts_and_names_what_failed(
    tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    done = tcssa("predict", trained / "run", new, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert [row["name"] for row in done.json["slides"]] == ["n0", "n1"]
    assert done.json["classes"] == ["a", "b"]
    (new / "broken.h5").write_bytes(b"no HDF5")
    again = tcssa("predict", trained / "run", new, "--out", tmp_path / "out", "--by", "case")
    assert again.code == 1
    assert "2 slides predicted by run, final model (2 done before), 1 failed" in again.stdout
    assert "failed  " in again.stdout
    assert (tmp_path / "out" / "cases.csv").exists()


def test_what_does_not_go_together_is_refused(
    tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    run, out = trained / "run", tmp_path / "out"
    for arguments, reason in (
        ([run, "--out", out], "no slides were given"),
        ([run, new, "--out", out, "--encoder", "uni_v2"], "--encoder is for slides"),
        ([run, new, "--out", out, "--runtime", "onnx"], "--runtime is for artefacts"),
    ):
        done = tcssa("predict", *arguments)
        assert done.code == 2
        assert reason in done.stderr
