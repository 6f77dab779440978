import csv
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from factories import make_compressor
from shared_data import require_shared
from slide_files import damage_tile, draw_slides, glass, write_slide

from tcssa.compressor import save_compressor
from tcssa.errors import UsageError
from tcssa.files.locks import FolderLocks
from tcssa.slides import ExtractSettings
from tcssa_exporters import export_compressor
from tcssa_runtimes import encode, open_runtime
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.compress_slides import CompressOptions, compress_slides
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.slot_sink import SlotFiles
from tcssa_runtimes.backends import torch_runtime as torch_runtime_module

GRID = "20x_224px_0px_overlap"
ENCODER = "efficientnet_lite0"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_slides(tmp_path_factory.mktemp("slides"), 3)


@pytest.fixture(scope="module")
def run_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "checkpoint.safetensors"
    save_compressor(make_compressor(feature_dim=1280, num_slots=4), path, ENCODER)
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}, dict(file["features"].attrs)


def slots_of(grid: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    return {path.stem: read(path) for path in (grid / "slide_features_tcssa").glob("*.h5")}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_pass_gives_the_slots_of_two_bit_by_bit(
    slides: list[Path],
    run_model: Path,
    tmp_path: Path,
    dtype: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_runtime_module, "_CHUNK_PATCHES", 16)  # several chunks a slide
    settings = ExtractSettings(dtype=dtype)
    report, index = compress_slides(
        slides, tmp_path / "job", run_model, settings, options=CompressOptions(keep_features=True)
    )
    assert report.count("done") == 3
    grid = tmp_path / "job" / GRID
    encode([grid / f"features_{ENCODER}"], tmp_path / "two", open_runtime(run_model))
    one, two = slots_of(grid), slots_of(tmp_path / "two")
    assert one.keys() == two.keys() == {path.stem for path in slides}
    for name, (arrays, attributes) in one.items():
        expected, theirs = two[name]
        assert arrays.keys() == expected.keys()
        for key in arrays:
            assert np.array_equal(arrays[key], expected[key]), (name, key)
        for key in ("input_hash", "num_patches", "encoder", "model_sha256", "input_name"):
            assert attributes[key] == theirs[key]
    with index.open() as stream:
        assert [row["slide_id"] for row in csv.DictReader(stream)] == sorted(one)
    again = encode([grid / f"features_{ENCODER}"], grid, open_runtime(run_model))
    assert (again.num_encoded, again.num_skipped) == (0, 3)


def test_indexes_are_written_in_turn(slides: list[Path], run_model: Path, tmp_path: Path) -> None:
    options = CompressOptions(slots_out=tmp_path)
    _, index = compress_slides(slides[:1], tmp_path / "job", run_model, options=options)
    said: list[str] = []
    with open_runtime(run_model) as runtime, FolderLocks(tmp_path / FOLDER) as other:
        other.take("index")
        sink = SlotFiles(tmp_path, runtime)
        thread = threading.Thread(target=sink.write_index, args=[said.append])
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        (slot_file,) = sink.folder.glob("*.h5")
        shutil.copy(slot_file, sink.folder / "later.h5")
        with h5py.File(sink.folder / "later.h5", "r+") as file:
            file["features"].attrs["name"] = "later"
        other.release("index")
        thread.join()
    assert len(index.read_text().splitlines()) == 3  # with the one that came meanwhile


def test_slots_alone_leave_no_features_and_are_resumed(
    slides: list[Path], run_model: Path, tmp_path: Path
) -> None:
    compress_slides(slides[:1], tmp_path, run_model)
    report, _ = compress_slides(slides, tmp_path, run_model)
    assert report.count("skipped") == 1
    assert report.count("done") == 2
    assert report.slides[0].num_patches > 0
    assert not list(tmp_path.glob(f"{GRID}/features_*/*.h5"))
    assert len(slots_of(tmp_path / GRID)) == 3


def test_an_artefact_of_whole_slides_and_a_chunked_one_compress_too(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # compared with torch on small bags only: 60,000 patches of this length take several seconds
    monkeypatch.setattr("tcssa_exporters.parity_cases._SIZES", (1, 2, 7, 1000))
    model = make_compressor(feature_dim=1280, num_slots=4)
    found = {}
    for graph in ("full", "chunked"):
        artefact = tmp_path / graph
        export_compressor(model, artefact, checkpoint_sha256="c0ffee", encoder=ENCODER, graph=graph)
        compress_slides(slides[:1], tmp_path / f"job-{graph}", artefact)
        found[graph] = slots_of(tmp_path / f"job-{graph}" / GRID)[slides[0].stem][0]
    assert np.abs(found["full"]["features"] - found["chunked"]["features"]).max() < 1e-4
    assert np.allclose(found["full"]["centroids"], found["chunked"]["centroids"], atol=0.1)


def test_unreadable_patches_are_listed_and_empty_slides_have_no_slots(
    run_model: Path, tmp_path: Path
) -> None:
    original = require_shared("slides/cmu-1-small-region.svs")
    damaged = tmp_path / original.name
    shutil.copyfile(original, damaged)
    damaged.chmod(0o644)
    damage_tile(damaged, column=4, row=7)
    write_slide(tmp_path / "blank.tif", glass(900, 900))
    report, _ = compress_slides(
        [damaged, tmp_path / "blank.tif"],
        tmp_path / "job",
        run_model,
        ExtractSettings(max_failed=0.2),
    )
    results = {slide.slide_id: slide for slide in report.slides}
    assert {name: slide.status for name, slide in results.items()} == {
        original.stem: "done",
        "blank": "empty",
    }
    found = slots_of(tmp_path / "job" / GRID)
    arrays, attributes = found[original.stem]
    assert found.keys() == {original.stem}
    num_failed = results[original.stem].num_failed
    assert len(arrays["failed_coords"]) == attributes["n_failed"] == num_failed > 0


def test_slots_of_another_model_or_of_other_patches_are_not_taken_for_done(
    slides: list[Path], run_model: Path, tmp_path: Path
) -> None:
    compress_slides(slides[:1], tmp_path, run_model)
    other = tmp_path / "other.safetensors"
    save_compressor(make_compressor(feature_dim=1280, num_slots=4, seed=1), other, ENCODER)
    with pytest.raises(UsageError, match="of another model"):
        compress_slides(slides[:1], tmp_path, other)
    with pytest.raises(UsageError, match="other parameters"):
        compress_slides(slides[:1], tmp_path, run_model, ExtractSettings(min_tissue=0.9))
    report, _ = compress_slides(
        slides[:1], tmp_path, run_model, ExtractSettings(min_tissue=0.9, overwrite=True)
    )
    assert report.count("done") == 1


def test_a_model_of_another_encoder_is_refused_before_anything_is_done(
    slides: list[Path], tmp_path: Path
) -> None:
    narrow, foreign = tmp_path / "narrow.safetensors", tmp_path / "foreign.safetensors"
    save_compressor(make_compressor(feature_dim=16), narrow, None)
    save_compressor(make_compressor(feature_dim=1280), foreign, "uni_v1")
    with pytest.raises(UsageError, match="takes D = 16, efficientnet_lite0 gives D = 1280"):
        compress_slides(slides, tmp_path / "job", narrow)
    with pytest.raises(UsageError, match="was trained on 'uni_v1'"):
        compress_slides(slides, tmp_path / "job", foreign, ExtractSettings(encoder=ENCODER))
    assert not list((tmp_path / "job").rglob("*.jpg"))


def test_slides_of_a_patient_are_merged_too(
    slides: list[Path], run_model: Path, tmp_path: Path
) -> None:
    table = {path.stem: "p" for path in slides[:2]}
    cases = CaseFiles(table)
    compress_slides(
        slides,
        tmp_path,
        run_model,
        options=CompressOptions(slots_out=tmp_path / "out", cases=cases),
    )
    assert (cases.num_merged, cases.failed) == (2, [])
    of_slides = [tmp_path / "out" / "slide_features_tcssa" / f"{name}.h5" for name in table]
    with open_runtime(run_model) as runtime:
        merge_slides(of_slides, tmp_path / "by-hand.h5", runtime)
    merged = tmp_path / "out" / "case_features_tcssa" / "p.h5"
    assert np.array_equal(read(merged)[0]["features"], read(tmp_path / "by-hand.h5")[0]["features"])
    again = CaseFiles(table)
    compress_slides(
        slides,
        tmp_path,
        run_model,
        options=CompressOptions(slots_out=tmp_path / "out", cases=again),
    )
    assert (again.num_merged, again.num_skipped) == (0, 2)
    of_slides[0].unlink()
    lock = tmp_path / GRID / f"features_{ENCODER}" / f".{of_slides[0].stem}.tcssa-lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))
    left = CaseFiles(table)
    report, _ = compress_slides(
        slides,
        tmp_path,
        run_model,
        options=CompressOptions(slots_out=tmp_path / "out", cases=left),
    )
    assert report.count("taken") == 1
    assert (left.num_merged, left.num_skipped, left.failed) == (0, 1, [])
