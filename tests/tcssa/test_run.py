"""The run directory: what its description says, and the checkpoint that it stands for."""

import json
import threading
from pathlib import Path

import pytest

from tcssa.errors import CheckpointError, RunError, UsageError
from tcssa.run import (
    CHECKPOINT_FILE,
    RUN_FILE,
    read_run,
    require_own_folder,
    selected_checkpoint,
    shows_run,
    write_run,
)


def fold(run: Path, name: str) -> Path:
    (run / name).mkdir(parents=True)
    (run / name / CHECKPOINT_FILE).write_bytes(b"weights")
    return run / name


def test_what_is_written_is_read_with_its_versions(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"kind": "mil", "complete": False, "encoder": "é"})
    found = read_run(tmp_path / "run")
    assert found == json.loads((tmp_path / "run" / RUN_FILE).read_text())
    assert found.keys() - {"kind", "complete", "encoder"} == {"schema_version", "tcssa_version"}
    assert found["encoder"] == "é"


def test_a_folder_without_run_and_a_run_of_another_schema_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        read_run(tmp_path)
    write_run(tmp_path, {"schema_version": 99})
    with pytest.raises(RunError, match="has schema version 99, this tcssa reads 1"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("artefact.json", "it is an artefact"),
        ("prediction.json", "it holds what tcssa predict wrote"),
        ("sweep.csv", "it holds the runs of a sweep"),
        ("slide_features_tcssa/a.h5", "it holds slides that tcssa encode encoded"),
        ("20x/features_uni/a.h5", "it holds features of slides"),
        ("a.h5", "it holds features of slides"),
    ],
)
def test_what_is_no_run_is_named_for_what_it_is(file: str, what: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(RunError, match=what):
        read_run(tmp_path)


def test_one_model_of_a_run_names_its_run(tmp_path: Path) -> None:
    fold(tmp_path, "fold-1")
    write_run(tmp_path, {"complete": True})
    with pytest.raises(RunError) as caught:
        read_run(tmp_path / "fold-1")
    assert caught.value.hint == f"give the run: {tmp_path}"


def test_a_run_stands_for_its_selected_fold_and_a_fold_for_itself(tmp_path: Path) -> None:
    for name in ("fold-0", "fold-1"):
        fold(tmp_path, name)
    write_run(tmp_path, {"complete": True, "selected": "fold-1"})
    assert selected_checkpoint(tmp_path) == tmp_path / "fold-1" / CHECKPOINT_FILE
    assert selected_checkpoint(tmp_path / "fold-0") == tmp_path / "fold-0" / CHECKPOINT_FILE


def test_an_unfinished_run_stands_for_nothing_nor_does_one_that_lost_its_fold(
    tmp_path: Path,
) -> None:
    fold(tmp_path, "fold-0")
    write_run(tmp_path, {"selected": "fold-0"})
    with pytest.raises(RunError, match="is not finished"):
        selected_checkpoint(tmp_path)
    write_run(tmp_path, {"complete": True, "selected": "fold-2"})
    with pytest.raises(CheckpointError, match="there is no such file") as caught:
        selected_checkpoint(tmp_path)
    assert caught.value.path == tmp_path / "fold-2" / CHECKPOINT_FILE


def test_a_run_that_shows_late_is_waited_for_and_one_that_does_not_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Timer(0.1, write_run, (tmp_path / "late", {}))
    late.start()
    assert shows_run(tmp_path / "late")
    late.join()
    monkeypatch.setattr("tcssa.run.SHOWN_WITHIN_S", 0.05)
    assert not shows_run(tmp_path / "never")


def test_a_run_beside_a_job_of_features_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "job.json").touch()
    with pytest.raises(UsageError, match="holds a job of tcssa extract or encode"):
        require_own_folder(tmp_path, RUN_FILE)
    write_run(tmp_path, {"kind": "train-mil", "complete": False})
    require_own_folder(tmp_path, RUN_FILE)
