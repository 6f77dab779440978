"""Encoding an archive: what is written, what is resumed, what is refused."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from exports import Exported
from factories import make_compressor, write_bag
from shared_data import require_shared

from tcssa import SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.errors import DeviceError, MissingDataError, TableError, UsageError
from tcssa.features import BagRef, open_bag
from tcssa.features.content import content_hash
from tcssa.files.checksums import file_sha256
from tcssa.reporter import Silent
from tcssa_runtimes import EncodeOptions, EncodeReport, Shard, encode, open_runtime
from tcssa_runtimes.archive.reader_pool import Piece, ReaderPool
from tcssa_runtimes.archive.slot_files import FOLDER, read_facts, slide_features_path


def read(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        datasets = {name: file[name][:] for name in file}
        return {**datasets, **file["features"].attrs}


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / FOLDER).iterdir()}


def timeless(index: Path) -> list[str]:
    """The rows of an index without their last column, the time of the file."""
    return [line.rpartition(",")[0] for line in index.read_text().splitlines()]


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    for i in range(5):
        write_bag(tmp_path / "bags" / f"s{i}.h5", 20 + i, seed=i)
    return tmp_path / "bags"


def run(model_file: Path, bags: Path, out: Path, **options: Any) -> EncodeReport:
    return encode(
        [bags], out, open_runtime(model_file, device="cpu"), options=EncodeOptions(**options)
    )


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


def test_chunks_of_many_slides_are_packed_and_come_to_their_slides(
    model: SlotCompressor, exported: Exported, tmp_path: Path
) -> None:
    """Slides of no, one and several chunks, read by three threads in whatever order."""
    sizes = [150, 1, 64, 129, 3, 65, 200, 128, *range(2, 30)]
    for i, size in enumerate(sizes):
        write_bag(tmp_path / "bags" / f"s{i:02d}.h5", size, seed=i)
    runtime = open_runtime(exported(salience=True, graph="chunked", chunk_patches=64))
    runtime.chunks_at_once = 4  # as a GPU has it
    report = encode(
        [tmp_path / "bags"], tmp_path / "out", runtime, options=EncodeOptions(readers=3)
    )
    assert (report.num_encoded, report.num_patches) == (len(sizes), sum(sizes))
    for i in range(len(sizes)):
        with open_bag(tmp_path / "bags" / f"s{i:02d}.h5") as bag:
            features = torch.from_numpy(bag.read())
        found = read(tmp_path / "out" / FOLDER / f"s{i:02d}.h5")
        expected = model(features[None])
        np.testing.assert_allclose(found["features"], expected.slots[0].detach(), atol=2e-5)
        np.testing.assert_allclose(found["mass"], expected.mass[0].detach(), atol=2e-5)


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


ENCODE = """
import sys
from pathlib import Path
from tcssa_runtimes import encode, open_runtime

model, bags, out = map(Path, sys.argv[1:])
encode([bags], out, open_runtime(model, device="cpu"))
"""


def test_an_archive_of_200_slides_is_killed_three_times_and_comes_to_the_same_bytes(
    exported: Exported, tmp_path: Path
) -> None:
    bags, killed, undisturbed = (tmp_path / name for name in ("bags", "killed", "undisturbed"))
    for i in range(200):
        write_bag(bags / f"s{i:03d}.h5", 50 + i % 90, seed=i)
    artefact = exported(salience=True, graph="chunked", chunk_patches=64)
    for kill, num_done in enumerate([30, 80, 140]):
        process = subprocess.Popen(
            [sys.executable, "-c", ENCODE, artefact, bags, killed],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        deadline = time.monotonic() + 60
        while len(list(killed.glob(f"{FOLDER}/s*.h5"))) < num_done:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
        process.kill()  # SIGKILL: nothing is tidied up
        process.wait()
        assert not (killed / "index.csv").exists(), f"kill {kill} came too late"
    report = run(artefact, bags, killed)
    assert 140 <= report.num_skipped < 200
    assert report.num_encoded == 200 - report.num_skipped
    run(artefact, bags, undisturbed)
    assert contents(killed) == contents(undisturbed)
    assert len(contents(killed)) == 200
    assert timeless(killed / "index.csv") == timeless(undisturbed / "index.csv")


def test_finished_files_are_not_opened_where_the_index_knows_them(
    checkpoint: Path, bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, opened = tmp_path / "out", list[str]()
    run(checkpoint, bags, out)
    index = (out / "index.csv").read_bytes()

    def watched(path: Path) -> object:
        opened.append(path.stem)
        return read_facts(path)

    monkeypatch.setattr("tcssa_runtimes.archive.done_slides.read_facts", watched)
    assert run(checkpoint, bags, out).num_skipped == 5
    assert not opened
    assert (out / "index.csv").read_bytes() == index
    os.utime(out / FOLDER / "s1.h5", (1, 1))  # the row is not of this file any more
    (out / FOLDER / "s2.h5").write_bytes(b"damaged")
    report = run(checkpoint, bags, out)
    assert (report.num_skipped, report.num_renewed) == (4, 1)
    assert opened == ["s1", "s2", "s2"]  # once more when it is claimed: another may have done it
    (out / "index.csv").write_text("slide_id\ns1\n")
    heard = Silent()
    assert encode([bags], out, open_runtime(checkpoint), heard).num_skipped == 5
    assert "the files are opened instead" in heard.warnings[0]


def test_a_copy_without_its_time_is_known_by_its_content(
    checkpoint: Path, bags: Path, tmp_path: Path
) -> None:
    run(checkpoint, bags, tmp_path / "out")
    os.utime(bags / "s1.h5", (1, 1))
    with h5py.File(bags / "s2.h5", "r+") as file:  # the same size, another time and content
        file["coords"][3] += 224
    report = run(checkpoint, bags, tmp_path / "out")
    assert (report.num_encoded, report.num_renewed, report.num_skipped) == (1, 1, 4)


def test_the_index_says_what_slides_were_made_from(
    checkpoint: Path, bags: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(checkpoint, bags, out)
    with (out / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["slide_id"] for row in rows] == [f"s{i}" for i in range(5)]
    found = read(out / FOLDER / "s3.h5")
    share = found["mass"] / found["mass"].sum()
    assert int(rows[3]["num_patches"]) == 23
    assert float(rows[3]["mass_entropy"]) == pytest.approx(-(share * np.log(share)).sum(), abs=1e-5)
    assert int(rows[3]["slots_in_use"]) == (share > 0).sum()
    assert rows[3]["input_hash"] == content_hash(bags / "s3.h5") == found["input_hash"]
    assert rows[3]["model_sha256"] == file_sha256(checkpoint)
    assert len({row["input_hash"] for row in rows}) == 5


def test_failed_slides_have_a_table_until_none_is_left(
    checkpoint: Path, bags: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (bags / "s9.h5").write_bytes(b"nothing")
    run(checkpoint, bags, out)
    with (out / "failed.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["path"] == str(bags / "s9.h5")
    assert "not a readable HDF5 file" in row["reason"]
    assert "s9" not in (out / "index.csv").read_text()
    write_bag(bags / "s9.h5")
    run(checkpoint, bags, out)
    assert not (out / "failed.csv").exists()


def test_shards_together_are_the_archive(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    run(checkpoint, bags, tmp_path / "whole")
    out, tables = tmp_path / "out", []
    for part in ("1/3", "2/3", "3/3"):
        run(checkpoint, bags, out, shard=Shard.parse(part))
        tables.append(timeless(out / f"index-{part[0]}-of-3.csv"))
    assert contents(out) == contents(tmp_path / "whole")
    assert [len(table) - 1 for table in tables] == [2, 2, 1]
    whole = timeless(tmp_path / "whole" / "index.csv")
    assert sorted(line for table in tables for line in table[1:]) == whole[1:]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="a shard is i/n with i from 1 to n"):
        Shard.parse(text)


def test_features_by_pattern_and_by_manifest(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    report = run(checkpoint, bags / "s[0-2].h5", tmp_path / "pattern")
    assert report.num_encoded == 3
    with pytest.raises(MissingDataError, match="nothing matches"):
        run(checkpoint, bags / "x*.h5", tmp_path / "pattern")
    table = tmp_path / "table.csv"
    table.write_text("slide,path\na,bags/s1.h5\nb,bags/s4.h5\n")
    lines = tmp_path / "table.txt"
    lines.write_text(f"{bags / 's1.h5'}\n\nbags/s4.h5\n")
    for manifest in (table, lines):
        runtime = open_runtime(checkpoint, device="cpu")
        report = encode(
            [], tmp_path / manifest.suffix, runtime, options=EncodeOptions(manifest=manifest)
        )
        assert report.num_encoded == 2
        assert sorted(contents(tmp_path / manifest.suffix)) == ["s1.h5", "s4.h5"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "file\na.h5\n", "lacks the columns path; found: file"),
        ("t.csv", "path\n\na.h5\n", "line 3: .*a.h5: there is no such file"),
        ("t.csv", "path,note\n,x\n", "line 2: the path is empty"),
        ("t.csv", "path\n.\n", "line 2: .* is a folder, not a file of features"),
        ("t.txt", "a.h5\u2028b.h5\n", "line 1: .*b.h5: there is no such file"),
        ("t.txt", "x" * 300 + "\n", "line 1: cannot be looked up"),
        ("t.txt", "\n\n", "lists no file"),
    ],
)
def test_a_faulty_manifest(
    name: str, content: str, message: str, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=message):
        encode(
            [],
            tmp_path / "out",
            open_runtime(checkpoint),
            options=EncodeOptions(manifest=tmp_path / name),
        )
    with pytest.raises(UsageError, match="no features were given"):
        encode([], tmp_path / "out", open_runtime(checkpoint))


def test_features_take_no_more_memory_than_allowed(
    checkpoint: Path, artefact: Path, tmp_path: Path
) -> None:
    """1 MB: half of it for pieces, 7812 rows of 16 features; torch's chunks have 4096."""
    write_bag(tmp_path / "bags" / "s.h5", 10_000)
    with pytest.raises(UsageError, match="--memory must be at least 2 MB for this model, got 1"):
        run(checkpoint, tmp_path / "bags", tmp_path / "out", memory_mb=1)
    assert run(checkpoint, tmp_path / "bags", tmp_path / "out", memory_mb=2).num_encoded == 1
    write_bag(tmp_path / "bags" / "t.h5", 5_000)
    report = run(artefact, tmp_path / "bags", tmp_path / "full", memory_mb=1)
    assert report.num_encoded == 1
    assert [slide.path.name for slide in report.failed] == ["s.h5"]
    assert "needs 1 MB at once, more than half of --memory" in report.failed[0].reason


def test_memory_does_not_grow_with_the_slide(checkpoint: Path, tmp_path: Path) -> None:
    """What is read ahead of a slow model is bounded, whatever the slides."""
    bag = BagRef(write_bag(tmp_path / "bags" / "s.h5", 60_000))
    runtime = open_runtime(checkpoint, device="cpu")
    held: list[int] = []
    chunk_bytes = 4096 * 16 * 4
    with runtime, ReaderPool([bag], runtime, 6 * chunk_bytes, 1) as pool:
        for message in pool.messages():
            if isinstance(message, Piece):
                held.append(pool.held_bytes())
                pool.give_back(message)
    assert len(held) == 15
    assert max(held) <= 3 * chunk_bytes


def test_the_report_tells_where_the_time_went(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    report = run(checkpoint, bags, tmp_path / "out")
    shares = report.shares()
    assert set(shares) == {"read", "copy", "compute", "write", "idle"}
    assert all(share > 0 for share in shares.values())
    assert shares["compute"] + shares["idle"] <= 1
    assert report.num_bytes == 110 * 16 * 4
    assert report.gb_per_s > 0


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


def test_a_bad_row_spoils_no_slide_that_is_computed_with_its_own(
    checkpoint: Path, bags: Path, tmp_path: Path
) -> None:
    for name, row in (("nan", 3), ("t_inf", 4500)):
        spoilt = np.ones((5000, 16), np.float32)
        spoilt[row, 3] = np.inf
        np.save(bags / f"{name}.npy", spoilt)
    alone = encode([bags], tmp_path / "alone", open_runtime(checkpoint, device="cpu"))
    runtime = open_runtime(checkpoint, device="cpu")
    runtime.chunks_at_once = 5  # as on a GPU
    report = encode([bags], tmp_path / "out", runtime, options=EncodeOptions(readers=1))
    reasons = {failed.path.name: failed.reason for failed in report.failed}
    assert sorted(reasons) == ["nan.npy", "t_inf.npy"]
    assert "row 3 " in reasons["nan.npy"]
    assert "row 4500 " in reasons["t_inf.npy"]
    assert report.num_encoded == alone.num_encoded == 5
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_slide_with_two_faults_fails_once(checkpoint: Path, bags: Path, tmp_path: Path) -> None:
    spoilt = np.ones((40_000, 16), np.float32)
    spoilt[3, 3] = np.nan
    with h5py.File(bags / "twice.h5", "w") as file:
        features = file.create_dataset(
            "features", data=spoilt, chunks=(1000, 16), compression="gzip", fletcher32=True
        )
        block = features.id.get_chunk_info(25)
    with (bags / "twice.h5").open("r+b") as stream:
        stream.seek(block.byte_offset)
        stream.write(bytes(block.size))
    runtime = open_runtime(checkpoint, device="cpu")
    runtime.chunks_at_once = 4
    reporter = Silent()
    report = encode([bags], tmp_path / "out", runtime, reporter)
    assert [failed.path.name for failed in report.failed] == ["twice.h5"]
    assert len(reporter.warnings) == 1
    assert report.num_encoded == 5
    assert len((tmp_path / "out" / "failed.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("dtype", [">f2", ">f4", "<f2"])
def test_numbers_of_any_byte_order_are_encoded(
    checkpoint: Path, bags: Path, tmp_path: Path, dtype: str
) -> None:
    with open_bag(bags / "s1.h5") as bag:
        halves = bag.read().astype(np.float16)
    for name, kind in (("native", np.float32), ("other", dtype)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "S.npy", halves.astype(kind))
        encode([tmp_path / name], tmp_path / f"{name}-out", open_runtime(checkpoint, device="cpu"))
    slots = []
    for name in ("native", "other"):
        with open_bag(slide_features_path(tmp_path / f"{name}-out", "S")) as encoded:
            slots.append(encoded.read())
    assert np.array_equal(*slots)


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


def test_another_set_of_the_same_file_is_not_taken_for_the_same(
    model: SlotCompressor, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "of-any-encoder.safetensors"
    save_compressor(model, checkpoint)
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "s.h5", "w") as file:  # as AtlasPatch writes it
        file["coords"] = np.array([[0, 0, 224, 224, 0], [224, 0, 224, 224, 0]], np.int32)
        for name in ("conch_v1.5", "uni"):
            file[f"features/{name}"] = rng.standard_normal((2, 16)).astype(np.float32)
    found = []
    for name in ("conch_v1.5", "uni"):
        report = run(checkpoint, Path(f"{tmp_path / 's.h5'}::{name}"), tmp_path / "out")
        assert (report.num_encoded, report.failed) == (1, [])
        found.append(read(tmp_path / "out" / FOLDER / "s.h5"))
    assert not np.array_equal(found[0]["features"], found[1]["features"])
    assert found[1]["input_name"] == "s.h5::uni"
    again = run(checkpoint, Path(f"{tmp_path / 's.h5'}::uni"), tmp_path / "out")
    assert (again.num_encoded, again.num_skipped) == (0, 1)


def test_a_lazyslide_store_is_encoded(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    store = require_shared("interop/lazyslide") / "LC-001c11.zarr"
    wide = make_compressor(feature_dim=512)
    save_compressor(wide, tmp_path / "wide.safetensors")
    report = run(tmp_path / "wide.safetensors", store, tmp_path / "out")
    assert (report.num_encoded, report.num_patches, report.failed) == (1, 28, [])
    assert run(tmp_path / "wide.safetensors", store, tmp_path / "out").num_skipped == 1
