"""Bad input gets one clear line: what, where, what next; and nothing half-written is kept."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cohorts import write_cohort
from command_line import SMALL, Outcome, Run
from factories import write_bag
from slide_files import draw_slides, stained, write_slide

from tcssa.mil.settings import CohortSettings


def train_on(tcssa: Run, cohort: CohortSettings, out: Path) -> Outcome:
    return tcssa(
        "train-mil", "--labels", cohort.labels, "--features", cohort.features, "--out", out, *SMALL
    )


def assert_one_line(done: Outcome, *parts: str, code: int = 1) -> None:
    assert done.code == code
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    for part in parts:
        assert part in errors[0], f"{part!r} is not in {errors[0]!r}"
    assert "Traceback" not in done.stderr
    assert "fault of tcssa" not in done.stderr


def test_bad_slides_are_named_and_the_good_one_is_done(tcssa: Run, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    (drawn,) = draw_slides(slides, 1)
    content = drawn.rename(slides / "good.tif").read_bytes()
    (slides / "cut.tif").write_bytes(content[: len(content) // 3])
    (slides / "text.svs").write_text("this is not a slide")
    done = tcssa("extract", slides, "--out", tmp_path / "job")
    assert done.code == 1
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if "│" in line}
    assert "done" in rows["good"]
    assert "failed" in rows["cut"]
    assert "failed" in rows["text"]
    failures = (tmp_path / "job" / "failures.csv").read_text()
    assert "cut.tif" in failures
    assert "text.svs" in failures
    assert not list((tmp_path / "job").rglob("*.tcssa-tmp"))


def test_an_unknown_encoder_offers_near_names(tcssa: Run, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.tif", stained(300, 300))
    done = tcssa("extract", slide, "--out", tmp_path, "--encoder", "efficientnet_lite")
    assert_one_line(done, "unknown encoder 'efficientnet_lite'", code=2)
    assert "did you mean efficientnet_lite0" in done.stderr


def test_a_missing_extra_is_named(tcssa: Run, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.tif", stained(300, 300))
    done = tcssa("extract", slide, "--out", tmp_path, "--encoder", "timm:resnet18")
    assert_one_line(done, "'timm'")
    assert "pip install 'tcssa[encoders]'" in done.stderr


def test_an_unknown_dataset_offers_near_names(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("train-mil", "--dataset", "nslcc", "--out", tmp_path)
    assert_one_line(done, "unknown dataset 'nslcc'", code=2)
    assert "did you mean nsclc?" in done.stderr


def test_an_absent_dataset_says_what_is_expected_where(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("train-mil", "--dataset", "brca", "--data-root", tmp_path, "--out", tmp_path / "r")
    assert_one_line(done, str(tmp_path / "brca/labels.csv"), str(tmp_path / "brca/features"))
    assert "step by step: tcssa presets" in done.stderr


def test_a_file_cut_in_half(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    path = tmp_path / "features" / "s05.h5"
    path.write_bytes(path.read_bytes()[:3000])
    assert_one_line(train_on(tcssa, cohort, tmp_path / "run"), "s05.h5", "not a readable HDF5")


def test_features_of_another_length(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    write_bag(tmp_path / "features" / "s05.h5", feature_dim=12)
    done = train_on(tcssa, cohort, tmp_path / "run")
    assert_one_line(done, "s05.h5", "D = 12, expected D = 16")


def test_a_nan_is_named_by_file_and_row(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    with h5py.File(tmp_path / "features" / "s05.h5", "r+") as file:
        file["features"][13, 2] = np.nan
    assert_one_line(train_on(tcssa, cohort, tmp_path / "run"), "s05.h5", "row 13", "not finite")


def test_labels_of_unknown_slides(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("p98,ghost,a\n")
    done = train_on(tcssa, cohort, tmp_path / "run")
    assert_one_line(done, "1 of 19", "ghost (no feature file)")
    assert "--skip-missing" in done.stderr


def test_a_class_with_one_patient(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    write_bag(tmp_path / "features" / "rare.h5")
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("p98,rare,c\n")
    assert_one_line(train_on(tcssa, cohort, tmp_path / "run"), "class 'c' has 1 patient")


class Hostile:
    """Unpickling this makes a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


def test_nothing_in_a_malicious_file_runs(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    bags = tmp_path / "bags"
    bags.mkdir()
    torch.save({"features": Hostile(witness)}, bags / "a.pt")
    np.save(bags / "b.npy", np.array({"feature": Hostile(witness)}, dtype=object))
    encoded = tcssa("encode", bags, "--model", trained / "run", "--out", tmp_path / "out", "--json")
    assert encoded.code == 1
    assert [Path(failed["path"]).name for failed in encoded.json["failed"]] == ["a.pt", "b.npy"]
    assert all("not loaded" in failed["reason"] for failed in encoded.json["failed"])
    torch.save({"model_state_dict": Hostile(witness)}, tmp_path / "best_model.pth")
    exported = tcssa("export", tmp_path / "best_model.pth", "--out", tmp_path / "artefact")
    assert_one_line(exported, "best_model.pth", "nothing in it was run")
    assert not witness.exists()
    assert not (tmp_path / "artefact").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1024k", "tmpfs", str(mount)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_in_training(tcssa: Run, tmp_path: Path, small_disk: Path) -> None:
    cohort = write_cohort(tmp_path)
    (small_disk / "ballast").write_bytes(bytes(964_000))
    done = train_on(tcssa, cohort, small_disk / "run")
    assert_one_line(done, "no space left on the disk")
    assert "the same command again" in done.stderr
    assert not list(small_disk.rglob("*.tcssa-tmp"))
    (small_disk / "ballast").unlink()
    assert not (small_disk / "run" / "metrics.json").exists()


def test_a_full_disk_in_encoding(tcssa: Run, trained: Path, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(974_000))
    arguments = ("encode", trained / "features", "--model", trained / "run", "--out", small_disk)
    full = tcssa(*arguments)
    assert_one_line(full, "no space left on the disk")
    assert not list(small_disk.rglob("*.tcssa-tmp"))
    (small_disk / "ballast").unlink()
    resumed = tcssa(*arguments)
    assert resumed.code == 0
    for path in (small_disk / "slide_features_tcssa").glob("*.h5"):
        with h5py.File(path) as file:
            assert file["features"].shape == (4, 16)


def test_a_full_disk_at_a_checkpoint_and_the_same_command_again(
    tcssa: Run, tmp_path: Path, small_disk: Path
) -> None:
    cohort = write_cohort(tmp_path)
    command = (
        "train-mil", "--labels", cohort.labels, "--features", cohort.features,
        "--out", small_disk / "run", *SMALL, "--checkpoint-every-s", "0",
    )  # fmt: skip
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_014_000))
    full = tcssa(*command)
    assert_one_line(full, "progress.pt", "no space left on the disk")
    ballast.unlink()
    # two checkpoints of three folds need more than this disk: keep none
    assert tcssa(*command[:-1], "999").code == 0


def test_an_output_that_is_a_file(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = tcssa(
        "encode", trained / "features", "--model", trained / "run", "--out", tmp_path / "out"
    )
    assert done.code == 1
    assert "fault of tcssa" not in done.stderr
    assert (tmp_path / "out").read_text() == "mine"


def test_a_run_that_is_no_model(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("export", tmp_path, "--out", tmp_path / "artefact")
    assert_one_line(done, "is no run directory")


def test_an_artefact_whose_model_file_was_cut(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    assert tcssa("export", trained / "run", "--out", tmp_path / "a").code == 0
    model = tmp_path / "a" / "model.onnx"
    model.write_bytes(model.read_bytes()[:1000])
    done = tcssa("encode", trained / "features", "--model", tmp_path / "a", "--out", tmp_path / "o")
    assert_one_line(done, "model.onnx", "is not the file the artefact was made with")


def test_a_gpu_that_is_not_there_is_not_replaced(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = tcssa(
        "encode", trained / "features", "--model", trained / "run", "--out", tmp_path,
        "--device", "cuda",
    )  # fmt: skip
    assert_one_line(done, "cuda")


def test_code_that_a_run_names_is_imported_only_if_the_command_names_it_too(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_method.py").write_text(
        "from tcssa.mil.methods.pooling import MeanPooling as make\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cohort, run = write_cohort(tmp_path), tmp_path / "run"
    data = ["--labels", cohort.labels, "--features", cohort.features, *SMALL, "--epochs", 1]
    trained = tcssa("train-mil", *data, "--model", "own_method:make", "--out", run)
    assert trained.code == 0, trained.stderr
    refused = tcssa("eval", run)
    assert refused.code == 1
    assert "names 'own_method:make'" in refused.stderr
    assert "--model own_method:make" in refused.stderr
    assert tcssa("eval", run, "--model", "own_method:make").code == 0
    config = run / "config.resolved.yaml"
    refused = tcssa("train-mil", "--config", config, "--out", tmp_path / "again")
    assert refused.code == 2
    assert "TCSSA_MODEL__NAME=own_method:make" in refused.stderr
    again = ["--config", config, "--model", "own_method:make", "--out", tmp_path / "again"]
    assert tcssa("train-mil", *again).code == 0
    refused = tcssa("sweep", "--config", config, "--over", "seed=1", "--out", tmp_path / "sweep")
    assert refused.code == 2
