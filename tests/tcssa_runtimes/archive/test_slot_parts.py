"""Archives of Parquet parts: written, resumed, read, converted, verified."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from factories import make_compressor, write_bag
from pyarrow import parquet

import tcssa
from tcssa.budgets import parse_budget
from tcssa.compressor import save_compressor
from tcssa.crew.local_processes import LocalProcesses, cpu_seats
from tcssa.errors import FeatureFileError, MissingDataError, UsageError
from tcssa.reporter import Silent
from tcssa_runtimes import EncodeOptions, EncodeReport, Shard, encode, open_runtime
from tcssa_runtimes.archive.convert_archive import convert_archive
from tcssa_runtimes.archive.encode_options import EncodeWorkers
from tcssa_runtimes.archive.open_archive import open_archive
from tcssa_runtimes.archive.shared_job import ModelChoice
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.slot_parts import SlotParts, find_parts, read_part_facts
from tcssa_runtimes.archive.verify_parts import verify_parts

NUM_SLIDES = 7


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with places, features, and both kinds of archive of them."""
    folder = tmp_path_factory.mktemp("parts")
    model = make_compressor(num_slots=8, spatial=True, nested=True)
    save_compressor(model, folder / "m.safetensors")
    for i in range(NUM_SLIDES):
        write_placed(folder / "bags" / f"TCGA-55-A48{i}-01Z-00-DX1.h5", 20 + i, seed=i)
    for to in ("hdf5", "parquet"):
        run(folder, folder / to, to=to)
    return folder


def write_placed(path: Path, num_patches: int, seed: int) -> None:
    with h5py.File(write_bag(path, num_patches, seed=seed), "r+") as file:
        file["coords"].attrs["mpp_level0"] = 0.5


def run(made: Path, out: Path, budget: str | None = None, **options: Any) -> EncodeReport:
    runtime = open_runtime(made / "m.safetensors", device="cpu")
    runtime.set_budget(parse_budget(budget))
    return encode([made / "bags"], out, runtime, options=EncodeOptions(**options))


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / FOLDER).iterdir()}


def test_parts_hold_what_files_hold_and_become_the_same_bytes(made: Path, tmp_path: Path) -> None:
    report = convert_archive(made / "parquet", "hdf5", tmp_path / "files")
    assert (report.num_converted, report.failed) == (NUM_SLIDES, [])
    assert files(tmp_path / "files") == files(made / "hdf5")
    convert_archive(made / "hdf5", "parquet", tmp_path / "parts")
    again = convert_archive(made / "hdf5", "parquet", tmp_path / "parts")
    assert (again.num_converted, again.num_skipped) == (0, NUM_SLIDES)
    convert_archive(tmp_path / "parts", "hdf5", tmp_path / "back")
    assert files(tmp_path / "back") == files(made / "hdf5")
    with pytest.raises(UsageError, match="is an archive of parquet already"):
        convert_archive(made / "parquet", "parquet", tmp_path / "none")


def test_other_programs_read_a_row_a_slide(made: Path) -> None:
    table = parquet.read_table(made / "parquet" / FOLDER)
    rows = sorted(table.to_pylist(), key=lambda row: row["slide_id"])
    assert [row["num_patches"] for row in rows] == list(range(20, 20 + NUM_SLIDES))
    assert rows[3]["case_id"] == "TCGA-55-A483"
    with h5py.File(made / "hdf5" / FOLDER / f"{rows[3]['slide_id']}.h5") as file:
        slots = np.array(rows[3]["slots"], np.float32).reshape(file["features"].shape)
        assert np.array_equal(slots, file["features"])
        assert rows[3]["model_sha256"] == file["features"].attrs["model_sha256"]


@pytest.mark.parametrize("kind", ["hdf5", "parquet"])
def test_an_archive_is_a_collection_of_slides(kind: str, made: Path) -> None:
    archive = tcssa.open_archive(made / kind / FOLDER)
    assert len(archive) == NUM_SLIDES
    assert sorted(slide.facts.name for slide in archive) == archive.slide_ids
    for slide_id in archive.slide_ids[::3]:
        slide = archive[slide_id]
        assert slide.facts.name == slide_id
        assert slide.slots.shape == (8, 16)
        assert slide.mass.shape == (8,)
        assert slide.centroids.shape == (8, 2)
    with pytest.raises(KeyError):
        archive["another"]
    table = archive.to_pandas()
    assert len(table) == NUM_SLIDES
    assert table.slots[0].shape == (128,)


def test_an_empty_folder_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="holds no encoded slides"):
        open_archive(tmp_path)


def test_a_rerun_does_only_what_changed_and_leaves_no_slide_twice(
    made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(made, out, to="parquet")
    assert run(made, out, to="parquet").num_skipped == NUM_SLIDES
    renewed = run(made, out, "4", to="parquet")
    assert (renewed.num_encoded, renewed.num_renewed) == (NUM_SLIDES, NUM_SLIDES)
    (part,) = find_parts(out)
    part.with_name("part-copy.parquet").write_bytes(part.read_bytes())
    assert "which part-" in verify_parts(out, Silent()).faults[0].reason
    run(made, out, "4", to="parquet", overwrite=True)
    assert [len(read_part_facts(part)) for part in find_parts(out)] == [NUM_SLIDES]
    assert open_archive(out)["TCGA-55-A480-01Z-00-DX1"].slots.shape == (4, 16)
    with pytest.raises(UsageError, match="of another model or input, and shards may not"):
        run(made, out, to="parquet", shard=Shard.parse("1/2"))
    for text in ("1/2", "2/2"):
        run(made, tmp_path / "shards", to="parquet", shard=Shard.parse(text))
    assert len(open_archive(tmp_path / "shards")) == NUM_SLIDES


def test_a_slide_with_a_stale_row_before_a_current_one_is_not_lost(
    made: Path, tmp_path: Path
) -> None:
    for name, budget in (("a-stale", "4"), ("b-current", None)):
        run(made, tmp_path / name, budget, to="parquet")
        (part,) = find_parts(tmp_path / name)
        place = tmp_path / "out" / FOLDER / f"part-{name}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        part.rename(place)
    report = run(made, tmp_path / "out", to="parquet")
    assert (report.num_encoded, report.num_skipped) == (NUM_SLIDES, 0)
    assert [len(read_part_facts(part)) for part in find_parts(tmp_path / "out")] == [NUM_SLIDES]


def test_a_rerun_with_nothing_to_do_removes_rows_that_stand_twice(
    made: Path, tmp_path: Path
) -> None:
    run(made, tmp_path, to="parquet")
    (part,) = find_parts(tmp_path)
    part.with_name("part-copy.parquet").write_bytes(part.read_bytes())
    run(made, tmp_path, to="parquet", shard=Shard.parse("1/1"))  # others may be at work
    assert len(find_parts(tmp_path)) == 2
    report = run(made, tmp_path, to="parquet")
    assert (report.num_encoded, report.num_skipped, report.num_renewed) == (0, NUM_SLIDES, 0)
    assert [len(read_part_facts(part)) for part in find_parts(tmp_path)] == [NUM_SLIDES]


def test_a_slide_without_coordinates_fits_beside_others(tmp_path: Path) -> None:
    save_compressor(make_compressor(), tmp_path / "m.safetensors")
    write_bag(tmp_path / "bags" / "a.h5", 9)
    with h5py.File(write_bag(tmp_path / "bags" / "b.h5", 9), "r+") as file:
        del file["coords"]
    for to in ("hdf5", "parquet"):
        assert run(tmp_path, tmp_path / to, to=to).num_encoded == 2
    assert len(find_parts(tmp_path / "parquet")) == 1
    assert "centroids" not in open_archive(tmp_path / "parquet")["b"].arrays
    convert_archive(tmp_path / "parquet", "hdf5", tmp_path / "files")
    assert files(tmp_path / "files") == files(tmp_path / "hdf5")


def test_an_archive_is_of_one_kind(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is an archive of hdf5, not of parquet"):
        run(made, made / "hdf5", to="parquet")
    with pytest.raises(UsageError, match="is an archive of parquet, not of hdf5"):
        run(made, made / "parquet")
    with pytest.raises(UsageError, match="do not hold which slots each patch went to"):
        run(made, tmp_path, to="parquet", assignments=True)
    (tmp_path / FOLDER).mkdir()
    for name in ("part-a.parquet", "s.h5"):
        (tmp_path / FOLDER / name).touch()
    with pytest.raises(UsageError, match=r"holds Parquet parts .* and HDF5 files"):
        open_archive(tmp_path)


def test_workers_write_parts_of_their_own(made: Path, tmp_path: Path) -> None:
    workers = EncodeWorkers(LocalProcesses(cpu_seats(2)), ModelChoice(made / "m.safetensors"))
    assert run(made, tmp_path, to="parquet", workers=workers).num_encoded == NUM_SLIDES
    assert sum(len(read_part_facts(part)) for part in find_parts(tmp_path)) == NUM_SLIDES
    assert open_archive(tmp_path).slide_ids == open_archive(made / "hdf5").slide_ids


ENCODE = """
import sys
from pathlib import Path
from tcssa_runtimes import EncodeOptions, encode, open_runtime
from tcssa_runtimes.archive import slot_parts

slot_parts._PART_ROWS = 8
model, bags, out = map(Path, sys.argv[1:])
encode([bags], out, open_runtime(model, device="cpu"), options=EncodeOptions(to="parquet"))
"""


def test_a_kill_leaves_whole_parts_which_are_not_encoded_again(made: Path, tmp_path: Path) -> None:
    for i in range(150):
        write_placed(tmp_path / "bags" / f"s{i:03}.h5", 9, seed=i)
    out, model = tmp_path / "out", made / "m.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", ENCODE, model, tmp_path / "bags", out],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    deadline = time.monotonic() + 60
    while len(find_parts(out)) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    kept = len(open_archive(out))
    assert 24 <= kept < 150
    runtime, options = open_runtime(model, device="cpu"), EncodeOptions(to="parquet")
    report = encode([tmp_path / "bags"], out, runtime, options=options)
    assert (report.num_skipped, report.num_encoded) == (kept, 150 - kept)
    assert verify_parts(out, Silent()).num_slots == len(open_archive(out)) == 150
    assert not [path for path in (out / FOLDER).iterdir() if path.name.startswith(".")]


def test_a_damaged_part_is_named_and_made_again(made: Path, tmp_path: Path) -> None:
    run(made, tmp_path, to="parquet")
    (part,) = find_parts(tmp_path)
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(FeatureFileError, match="cannot be read"):
        open_archive(tmp_path)
    report = verify_parts(tmp_path, Silent(), repair=True)
    assert (len(report.faults), report.num_requeued) == (1, 1)
    assert (tmp_path / "faulty" / FOLDER / part.name).is_file()
    assert run(made, tmp_path, to="parquet").num_encoded == NUM_SLIDES
    (part,) = find_parts(tmp_path)
    parquet.write_table(parquet.read_table(part).replace_schema_metadata(), part)
    (fault,) = verify_parts(tmp_path, Silent()).faults
    assert fault.reason == "is no part of an encoded archive"


def test_halves_stay_halves(tmp_path: Path) -> None:
    save_compressor(make_compressor(), tmp_path / "m.safetensors")
    write_bag(tmp_path / "bags" / "a.h5", 9)
    run(tmp_path, tmp_path / "hdf5")
    (slide,) = open_archive(tmp_path / "hdf5")
    slide.arrays["features"] = slide.slots.astype(np.float16)
    with SlotParts(tmp_path / "half" / FOLDER) as parts:
        parts.add(slide, lambda facts: None)
    (half,) = open_archive(tmp_path / "half")
    assert half.slots.dtype == np.float16
    assert np.array_equal(half.slots, slide.slots)
