"""Several processes train what one trains: the same weights, one voice, no hang."""

import json
import shutil
import signal
import time
from pathlib import Path

import h5py
import process_fits
import pytest
import torch
from cohorts import small_run, write_cohort
from process_fits import finish, fit_fold, start_python, start_together
from safetensors.torch import load_file

from tcssa.compute.processes import _OWN_FAULTS, _all_there, joined
from tcssa.errors import DeviceError, RunError, UsageError
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.sweep.sweep import parse_axis, sweep
from tcssa.mil.training.fit import FoldFit
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

METHODS = [
    "tcssa", "abmil", "clam_sb", "dsmil", "2dmamba", "process_fits:small_transmil",
    "process_fits:Uneven",
]  # fmt: skip
NO_EFFECT = {"attention.score.bias", "score.2.bias", "num_seen"}
"""A softmax does not see a bias on all scores: its gradient is rounding, which AdamW blows up to
whole steps. And a buffer is the first process's own."""
COMMAND = "from tcssa_cli.main import main; main()"
APART = """
import os
import tcssa.run
tcssa.run.SHOWN_WITHIN_S = 1
os.chdir(os.environ["RANK"])
"""
"""Before the command: every process has a folder of its own."""
LATE = """
import os, time
from tcssa.mil.bags import feature_pack_writer as packing
from tcssa.mil.training import train
open_store, pack_slide = train.open_store, packing._pack_slide

def late(*given):
    time.sleep(2 if os.environ["RANK"] == "0" else 0)
    return open_store(*given)

def telling(*given):
    print("packed by", os.environ["RANK"])
    return pack_slide(*given)

train.open_store, packing._pack_slide = late, telling
"""
"""Before the command: the first process is the last that can pack."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> CohortSettings:
    """Of 16 slides 13 train, four a step: the last step has one slide for two processes."""
    return write_cohort(tmp_path_factory.mktemp("cohort"), 16)


@pytest.fixture(scope="module")
def fits_of_two(cohort: CohortSettings) -> Path:
    """A folder of what both of two processes ended with, of every method."""
    assert cohort.labels is not None
    folder = cohort.labels.parent
    finish(start_together([process_fits.__file__, str(folder), *METHODS]))
    return folder


def assert_like_one(fit: FoldFit, folder: Path) -> None:
    """The weights of both processes are alike, and close to those of a fit by one."""
    first, second = (load_file(folder / f"{index}.safetensors") for index in (0, 1))
    for name, value in fit.model.state_dict().items():
        assert first[name].equal(second[name]), name
        if name not in NO_EFFECT:
            torch.testing.assert_close(first[name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_give_the_weights_of_one(
    method: str, cohort: CohortSettings, fits_of_two: Path, tmp_path: Path
) -> None:
    # noise and dropout belong to a part, not to a process
    fit = fit_fold(cohort, method, tmp_path, num_parts=2)
    assert_like_one(fit, fits_of_two / f"{method}-True")


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_parts_are_the_whole_batch(
    method: str, cohort: CohortSettings, fits_of_two: Path, tmp_path: Path
) -> None:
    fit = fit_fold(cohort, method, tmp_path, draws=False)
    assert_like_one(fit, fits_of_two / f"{method}-False")


def test_processes_that_differ_are_told_so(fits_of_two: Path) -> None:
    for index in range(2):
        said = (fits_of_two / f"differs-{index}.txt").read_text()
        assert said.splitlines() == [
            "the processes found different numbers: 0; 1 (count again)",
            "the processes found different checkpoints: fold 0, 0 epochs; fold 1, 0 epochs "
            "(--out must be one folder that all processes see)",
        ]


def test_the_first_process_may_work_for_longer_than_others_wait(fits_of_two: Path) -> None:
    assert (fits_of_two / "turns.txt").read_text() == "01"


@pytest.mark.parametrize("fault", _OWN_FAULTS)
def test_a_fault_of_the_own_gpu_is_not_put_on_others(fault: type[RuntimeError]) -> None:
    with pytest.raises(fault, match="illegal access"), _all_there():
        raise fault("illegal access")


@pytest.mark.parametrize(
    ("name", "message"), [("cuda", "no GPU of its own"), ("mps", "not on mps")]
)
def test_a_process_without_a_device_of_its_own_is_refused(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: name == "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: name == "mps")
    for variable in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(variable, "1")
    for variable in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "2")
    with pytest.raises(DeviceError, match=message), joined(name):
        pass


def test_a_sweep_of_several_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, "2")
    with pytest.raises(UsageError, match="processes of its own"):
        sweep(MilSettings(), [parse_axis("num_slots=4")], tmp_path)


def words(cohort: CohortSettings, out: Path, *more: object) -> list[str]:
    given = [
        "train-mil", "--labels", cohort.labels, "--features", cohort.features, "--out", out,
        "--num-slots", 4, "--hidden-dim", 8, "--folds", 3, "--epochs", 8, "--lr", 0.01,
        "--batch-size", 3, "--device", "cpu", "--json", *more,
    ]  # fmt: skip
    return [str(word) for word in given]


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words before those of a command that two processes are to carry out."""
    script = tmp_path_factory.mktemp("script") / "run.py"
    script.write_text(COMMAND)
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]


@pytest.fixture(scope="module")
def run(
    cohort: CohortSettings, torchrun: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of two processes; what they printed lies beside it."""
    folder = tmp_path_factory.mktemp("two")
    said = finish([start_python([*torchrun, *words(cohort, folder / "run")])])
    (folder / "said.txt").write_text(said)
    return folder / "run"


def test_a_run_of_two_processes_is_that_of_one(
    cohort: CohortSettings, run: Path, tmp_path: Path
) -> None:
    settings = small_run(cohort, epochs=8, batch_size=3, num_parts=2, device="cpu")
    model = settings.model.model_copy(update={"head_dim": 512})
    alone = train(settings.model_copy(update={"model": model}), tmp_path / "run", Silent())
    together = read_metrics(run)
    assert together["pooled"]["brier"]["value"] == pytest.approx(
        alone["pooled"]["brier"]["value"], rel=1e-4
    )
    for one, two in zip(alone["folds"], together["folds"], strict=True):
        assert one["best_epoch"] == two["best_epoch"]
        assert one["val_loss"] == pytest.approx(two["val_loss"], rel=1e-4)
    assert (
        not train(  # a finished run of two is finished for one
            settings.model_copy(update={"model": model}), run, Silent()
        ).keys()
        - together.keys()
    )


def test_one_process_speaks(run: Path) -> None:
    lines = (run.parent / "said.txt").read_text().splitlines()
    assert sum(line.startswith("fold 0: epoch") for line in lines) == 1
    (result,) = [json.loads(line) for line in lines if line.startswith("{")]
    assert result["run"] == str(run)


def test_kill_9_of_all_processes_ends_with_the_same_bytes(
    cohort: CohortSettings, run: Path, tmp_path: Path
) -> None:
    arguments = ["-c", COMMAND, *words(cohort, tmp_path / "run", "--checkpoint-every-s", 0)]
    processes = start_together(arguments)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "fold-1" / "progress.pt").exists():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.002)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "run" / "metrics.json").exists()
    finish(start_together(arguments))
    for pattern in ("**/*.csv", "**/*.safetensors", "**/metrics.json"):
        for path in run.glob(pattern):
            again = tmp_path / "run" / path.relative_to(run)
            assert again.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("finished", [None, [(0,), ()], [(0, 1, 2), (0,)]])
def test_folders_that_are_not_one_are_refused(
    finished: list[tuple[int, ...]] | None,
    cohort: CohortSettings,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for process in range(2):
        (tmp_path / str(process)).mkdir()
        if finished is None:  # a fresh run
            continue
        out = tmp_path / str(process) / "run"
        shutil.copytree(run, out)
        facts = json.loads((out / "run.json").read_text())
        complete = len(finished[process]) == 3
        (out / "run.json").write_text(json.dumps({**facts, "complete": complete}))
        for fold in {0, 1, 2}.difference(finished[process]):
            (out / f"fold-{fold}" / "metrics.json").unlink()
    arguments = ["-c", APART + COMMAND, *words(cohort, Path("run"))]
    said = [process.communicate(timeout=240)[0] for process in start_together(arguments)]
    assert "the processes found different run folders" in "".join(said)
    assert "epoch" not in "".join(said)


def test_a_run_of_another_number_of_processes_is_told_how_to_go_on(
    cohort: CohortSettings, run: Path
) -> None:
    settings = small_run(cohort, epochs=8, batch_size=3, device="cpu")
    model = settings.model.model_copy(update={"head_dim": 512})
    with pytest.raises(RunError, match="go on with --num-parts 2, and no more processes than"):
        train(settings.model_copy(update={"model": model}), run, Silent())


def test_the_process_that_reports_packs(cohort: CohortSettings, tmp_path: Path) -> None:
    more = ("--epochs", 1, "--feature-cache", tmp_path / "packs")
    first, other = start_together(["-c", LATE + COMMAND, *words(cohort, tmp_path / "run", *more)])
    told, untold = (process.communicate(timeout=240)[0] for process in (first, other))
    assert first.returncode == other.returncode == 0, told[-3000:]
    assert told.count("packed by 0") == 16
    assert "packed by" not in untold


@pytest.mark.parametrize("spoilt", ["the input of all", "one slide"])
def test_an_error_ends_all_processes_and_is_told_once(
    spoilt: str, torchrun: list[str], tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path)
    assert cohort.features is not None
    if spoilt == "one slide":  # only one process reads it
        with h5py.File(cohort.features / "s05.h5", "r+") as file:
            file["features"][3, 2] = float("nan")
    else:
        (cohort.features / "s05.h5").unlink()
    process = start_python([*torchrun, *words(cohort, tmp_path / "run")])
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    (error,) = [line for line in said.splitlines() if line.startswith("error  ")]
    assert "s05" in error


def test_a_process_whose_partner_is_gone_says_so(cohort: CohortSettings, tmp_path: Path) -> None:
    arguments = ["-c", COMMAND, *words(cohort, tmp_path / "run", "--checkpoint-every-s", 0)]
    writing, other = start_together(arguments)
    while not (tmp_path / "run" / "fold-0" / "progress.pt").exists():
        assert writing.poll() is None
        time.sleep(0.002)
    other.send_signal(signal.SIGKILL)
    said, _ = writing.communicate(timeout=60)
    assert writing.returncode == 1
    assert "talking to the other processes of this training failed" in said
    other.communicate()
