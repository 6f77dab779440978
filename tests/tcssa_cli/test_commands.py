"""Each command once, unpatched, on something small and real."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import SMALL, Run
from PIL import Image
from shared_data import require_shared
from slide_files import stained


def test_extract_a_real_slide_at_its_true_resolution(tcssa: Run, tmp_path: Path) -> None:
    slide = require_shared("slides/cmu-1-small-region.svs")
    done = tcssa("extract", slide, "--out", tmp_path, "--json")
    assert done.code == 0
    (result,) = done.json["slides"]
    assert (result["status"], result["mpp"]) == ("done", 0.499)
    path = Path(done.json["features"]) / "cmu-1-small-region.h5"
    with h5py.File(path) as file:
        assert file["features"].shape == (result["num_patches"], 1280)
        assert file["coords"].attrs["mpp_level0"] == 0.499
    again = tcssa("extract", slide, "--out", tmp_path, "--json")
    assert again.json["slides"][0]["status"] == "skipped"
    assert again.json["num_encoded"] == 0


def test_a_slide_without_resolution_is_refused_and_takes_one(tcssa: Run, tmp_path: Path) -> None:
    slide = require_shared("slides/tcga-cr-7395-01a-01-ts1.svs")
    refused = tcssa("extract", slide, "--out", tmp_path)
    assert refused.code == 1
    assert "neither microns per pixel nor an objective power" in refused.stdout
    given = tcssa("extract", slide, "--out", tmp_path, "--slide-mpp", "0.25", "--json")
    assert given.code == 0
    assert given.json["num_patches"] > 10


def test_extract_takes_a_reader_and_refuses_an_unknown_one(tcssa: Run, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(stained(300, 300)).save(picture)
    job = tmp_path / "job"
    flags = ("--reader", "image", "--slide-mpp", "0.5", "--cache", tmp_path / "c", "--json")
    done = tcssa("extract", picture, "--out", job, *flags)
    assert (done.code, done.json["num_patches"]) == (0, 1)
    unknown = tcssa("extract", picture, "--out", job, "--reader", "imag")
    assert unknown.code == 2
    assert "did you mean image?" in unknown.stderr


def test_train_reports_and_does_nothing_twice(tcssa: Run, trained: Path) -> None:
    arguments = ("--labels", trained / "labels.csv", "--features", trained / "features", *SMALL)
    done = tcssa("train-mil", *arguments, "--batch-size", 2, "--out", trained / "run")
    assert done.code == 0
    assert "AUC" in done.stdout
    assert "is complete already" in done.stderr


def test_export_and_encode_agree_with_torch(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    exported = tcssa("export", trained / "run", "--out", tmp_path / "artefact", "--json")
    assert exported.code == 0
    assert exported.json["encoder"] == "test_encoder"
    slots = {}
    for runtime, model in (("onnx", tmp_path / "artefact"), ("torch", trained / "run")):
        out = tmp_path / runtime
        done = tcssa(
            "encode", trained / "features", "--model", model, "--out", out, "--runtime", runtime
        )
        assert done.code == 0, done.stderr
        assert "18 slides encoded" in done.stdout
        with h5py.File(out / "slide_features_tcssa" / "s07.h5") as file:
            slots[runtime] = {name: file[name][()] for name in file}
    assert set(slots["onnx"]) >= {"features", "mass", "centroids", "spread"}
    # A whole graph gives no mean feature a slot: it is the one thing that torch writes besides.
    assert set(slots["torch"]) - set(slots["onnx"]) == {"means"}
    for name, values in slots["onnx"].items():
        np.testing.assert_allclose(values, slots["torch"][name], rtol=1e-4, atol=2e-5)


def test_a_real_engine_is_built_without_a_gpu(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
    done = tcssa(
        "export", trained / "run", "--format", "trt-rtx", "--target", "sm89",
        "--max-patches", 2048, "--out", tmp_path / "engine", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.json["format"] == "tensorrt-rtx"
    assert "not yet run on a GPU" in done.json["parity"]["status"]


def test_import_bags_makes_a_cohort_that_trains(tcssa: Run, tmp_path: Path) -> None:
    table = require_shared("mil/musk1.csv.gz")
    done = tcssa("import-bags", table, "--out", tmp_path, "--standardise", "--json")
    assert done.code == 0
    assert done.json["num_bags"] == 92
    trained = tcssa(
        "train-mil", "--labels", done.json["labels"], "--features", done.json["features"],
        "--out", tmp_path / "run", *SMALL, "--json",
    )  # fmt: skip
    assert trained.code == 0
    assert trained.json["pooled"]["num_slides"] == 92
