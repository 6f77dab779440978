"""Encoding an archive: what is written, what is resumed, what is refused."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from factories import make_compressor, write_bag
from shared_data import require_shared

from tcssa import SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.errors import DeviceError, MissingDataError, UsageError
from tcssa.features import open_bag
from tcssa.reporter import Silent
from tcssa_runtimes import EncodeReport, encode, open_runtime, read_ahead
from tcssa_runtimes.slide_features import FOLDER


def read(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        datasets = {name: file[name][:] for name in file}
        return {**datasets, **file["features"].attrs}


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / FOLDER).iterdir()}


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    for i in range(5):
        write_bag(tmp_path / "bags" / f"s{i}.h5", 20 + i, seed=i)
    return tmp_path / "bags"


def run(model_file: Path, bags: Path, out: Path, **options: bool) -> EncodeReport:
    return encode([bags], out, open_runtime(model_file, device="cpu"), **options)


@pytest.mark.parametrize("which", ["checkpoint", "artefact"])
def test_a_slide_becomes_its_slots(
    which: str,
    bags: Path,
    tmp_path: Path,
    model: SlotCompressor,
    request: pytest.FixtureRequest,
) -> None:
    report = run(request.getfixturevalue(which), bags, tmp_path / "out")
    assert (report.num_encoded, report.num_patches, report.failed) == (5, 110, [])
    assert report.slides_per_s > 0
    with open_bag(bags / "s3.h5") as bag:
        features, corners = bag.read(), bag.read_coords()
    assert corners is not None
    state = model.update(
        model.start(), torch.from_numpy(features), torch.from_numpy(corners + 112.0)
    )
    assert state.footprint is not None
    found = read(tmp_path / "out" / FOLDER / "s3.h5")
    assert found["features"].dtype == found["mass"].dtype == np.float32
    np.testing.assert_allclose(found["features"], model.finish(state).numpy(), atol=2e-5)
    np.testing.assert_allclose(found["mass"], state.mass.numpy(), atol=2e-5)
    # of patch centres: the corners are half a patch of 224 away
    np.testing.assert_allclose(found["centroids"], state.footprint.centroids(), rtol=1e-5)
    np.testing.assert_allclose(found["spread"], state.footprint.spread(), rtol=1e-4)
    assert found["encoder"] == "test_encoder"
    assert found["name"] == "s3"
    assert found["num_patches"] == 23
    assert found["input_name"] == "s3.h5"
    assert found["complete"]


def test_a_slide_of_many_chunks_is_read_whole(
    checkpoint: Path, bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(checkpoint, bags, tmp_path / "whole")
    monkeypatch.setattr(read_ahead, "CHUNK_PATCHES", 1)  # more chunks than the queue holds
    run(checkpoint, bags, tmp_path / "chunked")
    for name in contents(tmp_path / "whole"):
        one, other = (read(tmp_path / out / FOLDER / name) for out in ("whole", "chunked"))
        np.testing.assert_allclose(one["features"], other["features"], atol=2e-5)
        np.testing.assert_allclose(one["spread"], other["spread"], rtol=1e-5)


def test_a_second_run_does_nothing(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    run(checkpoint, bags, tmp_path / "out")
    before = contents(tmp_path / "out")
    report = run(checkpoint, bags, tmp_path / "out")
    assert (report.num_encoded, report.num_skipped) == (0, 5)
    assert contents(tmp_path / "out") == before
    report = run(checkpoint, bags, tmp_path / "out", overwrite=True)
    assert (report.num_encoded, report.num_skipped) == (5, 0)
    assert contents(tmp_path / "out") == before


def test_what_changed_is_renewed(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(checkpoint, bags, out)
    write_bag(bags / "s1.h5", 30, seed=9)
    broken = out / FOLDER / "s2.h5"
    broken.write_bytes(broken.read_bytes()[:1000])
    write_bag(bags / "s9.h5", 10)
    report = run(checkpoint, bags, out)
    assert (report.num_encoded, report.num_renewed, report.num_skipped) == (3, 2, 3)
    assert read(out / FOLDER / "s1.h5")["num_patches"] == 30
    save_compressor(make_compressor(seed=1), tmp_path / "other.safetensors")
    assert run(tmp_path / "other.safetensors", bags, out).num_renewed == 6


ENCODE_SLOWLY = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from tcssa.reporter import Silent
from tcssa_runtimes import encode, open_runtime

class Talking(Silent):
    @contextmanager
    def task(self, description, total, unit):
        yield self
    def describe(self, text):
        pass
    def advance(self, amount=1):
        print("one more", flush=True)
        time.sleep(0.02)

model, bags, out = map(Path, sys.argv[1:])
encode([bags], out, open_runtime(model, device="cpu"), Talking())
"""


def test_a_killed_run_is_finished_by_the_next(checkpoint: Path, tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    for i in range(30):
        write_bag(bags / f"s{i:02d}.h5", 100, seed=i)
    process = subprocess.Popen(
        [sys.executable, "-c", ENCODE_SLOWLY, checkpoint, bags, tmp_path / "killed"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for _ in range(7):
            assert process.stdout.readline() == "one more\n"
        process.kill()  # SIGKILL: nothing is tidied up
    report = run(checkpoint, bags, tmp_path / "killed")
    assert 7 <= report.num_skipped < 30
    assert report.num_encoded == 30 - report.num_skipped
    run(checkpoint, bags, tmp_path / "undisturbed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_bad_files_are_listed_and_the_rest_goes_on(
    checkpoint: Path, bags: Path, tmp_path: Path
) -> None:
    cut = (bags / "s0.h5").read_bytes()
    (bags / "cut.h5").write_bytes(cut[: len(cut) // 2])
    write_bag(bags / "other_d.h5", feature_dim=9)
    write_bag(bags / "other_encoder.h5", encoder="uni")
    write_bag(bags / "empty.h5", 0)
    np.save(bags / "integers.npy", np.zeros((4, 16), np.int64))
    spoilt = np.zeros((9000, 16), np.float32)
    spoilt[5000, 3] = np.nan
    np.save(bags / "nan.npy", spoilt)
    (bags / "gone.h5").symlink_to(bags / "nowhere.h5")
    reporter = Silent()
    report = encode([bags], tmp_path / "out", open_runtime(checkpoint, device="cpu"), reporter)
    reasons = {failed.path.name: failed.reason for failed in report.failed}
    assert report.num_encoded == 5
    assert sorted(contents(tmp_path / "out")) == [f"s{i}.h5" for i in range(5)]
    assert "not a readable HDF5 file" in reasons.pop("cut.h5")
    assert "D = 9, expected D = 16" in reasons.pop("other_d.h5")
    assert "'uni', the model was trained on 'test_encoder'" in reasons.pop("other_encoder.h5")
    assert report.empty == [bags / "empty.h5"]
    assert "floating point" in reasons.pop("integers.npy")
    assert "row 5000" in reasons.pop("nan.npy")
    assert "No such file" in reasons.pop("gone.h5")
    assert reasons == {}
    assert len(reporter.warnings) == 7


def test_without_coordinates_there_is_no_place(
    checkpoint: Path, artefact: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "s.npy", np.ones((5, 16), np.float16))
    for model_file, out in ((checkpoint, "torch"), (artefact, "onnx")):
        run(model_file, tmp_path / "s.npy", tmp_path / out)
        found = read(tmp_path / out / FOLDER / "s.h5")
        assert "centroids" not in found
        assert "spread" not in found
        assert found["encoder"] == "test_encoder"  # the model knows where the file does not


def test_two_files_of_one_slide_are_refused(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "s1.npy", np.ones((5, 16), np.float32))
    with pytest.raises(UsageError, match="two files are of slide 's1'"):
        encode([bags, tmp_path / "s1.npy"], tmp_path / "out", open_runtime(checkpoint))
    with pytest.raises(MissingDataError):
        encode([tmp_path / "nowhere"], tmp_path / "out", open_runtime(checkpoint))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_ends_the_run(
    artefact: Path, bags: Path, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError):
        encode([bags], tmp_path / "out", open_runtime(artefact, device="cuda"))


@pytest.mark.parametrize(
    ("folder", "unit", "point"),
    [
        ("trident/job", "level0_px", "centre"),
        ("clam/feats/h5_files", "level0_px", "corner"),
        ("clam/feats/pt_files", None, None),
        ("stamp/job/resnet18-random-49b04e14", "um", "centre"),
    ],
)
def test_genuine_files_of_other_tools(
    folder: str, unit: str | None, point: str | None, tmp_path: Path
) -> None:
    source = require_shared("interop") / folder
    with open_bag(next(source.glob("**/LC-001c11.[hp]*"))) as bag:
        feature_dim = bag.feature_dim
    save_compressor(make_compressor(feature_dim), tmp_path / "model.safetensors")
    report = run(tmp_path / "model.safetensors", source, tmp_path / "out")
    assert (report.num_encoded, report.failed) == (2, [])
    found = tmp_path / "out" / FOLDER / "LC-001c11.h5"
    assert np.isfinite(read(found)["features"]).all()
    with h5py.File(found) as file:
        if unit is None:
            assert "centroids" not in file
        else:
            assert file["centroids"].attrs["coords_unit"] == unit
            assert file["centroids"].attrs["coords_point"] == point
            assert np.nanmin(file["centroids"][:]) >= 0
