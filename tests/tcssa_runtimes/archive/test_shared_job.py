"""An archive that two processes share, from features and from slides."""

from pathlib import Path

from factories import make_compressor, write_bag
from slide_files import draw_slides

from tcssa.compressor import save_compressor
from tcssa.crew.local_processes import LocalProcesses, cpu_seats
from tcssa.slides import ExtractSettings
from tcssa_runtimes import EncodeOptions, encode, open_runtime
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.compress_slides import CompressOptions, compress_slides
from tcssa_runtimes.archive.encode_options import EncodeWorkers
from tcssa_runtimes.archive.shared_job import ModelChoice


def two_workers(model: Path) -> EncodeWorkers:
    return EncodeWorkers(LocalProcesses(cpu_seats(2)), ModelChoice(model))


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    rows = found.pop("index.csv", b"").splitlines()  # whose last column is the time of the file
    return found | {f"row {n}": row.rpartition(b",")[0] for n, row in enumerate(rows)}


def test_an_archive_of_two_workers_is_that_of_one_process(tmp_path: Path) -> None:
    model, bags = tmp_path / "model.safetensors", tmp_path / "bags"
    save_compressor(make_compressor(), model)
    for i in range(30):
        write_bag(bags / f"s{i:02}.h5", 20 + i, seed=i)
    write_bag(bags / "empty.h5", 0)
    (bags / "broken.h5").write_bytes(b"no HDF5")
    runtime = open_runtime(model, device="cpu")
    alone = encode([bags], tmp_path / "alone", runtime)
    shared = encode(
        [bags],
        tmp_path / "shared",
        open_runtime(model, device="cpu"),
        options=EncodeOptions(workers=two_workers(model)),
    )
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    assert shared.num_encoded == alone.num_encoded == 30
    assert shared.num_patches == alone.num_patches
    assert shared.num_bytes == alone.num_bytes
    assert shared.failed == alone.failed
    assert shared.empty == alone.empty == [bags / "empty.h5"]
    assert sum(share.num_slides for share in shared.workers) == 32
    options = EncodeOptions(workers=two_workers(model))
    again = encode([bags], tmp_path / "shared", runtime, options=options)
    assert again.num_skipped == 30
    assert again.num_encoded == 0


def test_patients_of_slides_of_two_workers_are_merged_as_in_one_process(tmp_path: Path) -> None:
    model, bags = tmp_path / "model.safetensors", tmp_path / "bags"
    save_compressor(make_compressor(), model)
    for i in range(4):
        write_bag(bags / f"s{i}.h5", 20 + i, seed=i)
    cases = [CaseFiles({f"s{i}": f"p{i % 2}" for i in range(4)}) for _ in range(2)]
    runtime = open_runtime(model, device="cpu")
    alone = EncodeOptions(cases=cases[0])
    shared = EncodeOptions(cases=cases[1], workers=two_workers(model))
    encode([bags], tmp_path / "alone", runtime, options=alone)
    encode([bags], tmp_path / "shared", runtime, options=shared)
    assert [each.num_merged for each in cases] == [2, 2]
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_slides_of_two_workers_become_the_features_and_slots_of_one_process(
    tmp_path: Path,
) -> None:
    slides = draw_slides(tmp_path / "slides", 3)
    model, encoder = tmp_path / "model.safetensors", "efficientnet_lite0_random"
    save_compressor(make_compressor(feature_dim=1280, num_slots=4), model, encoder)
    jobs = {}
    settings = ExtractSettings(encoder=encoder, device="cpu")
    for name, crew in (("alone", None), ("shared", LocalProcesses(cpu_seats(2)))):
        cases = CaseFiles({path.stem: "p" for path in slides})
        options = CompressOptions(keep_features=True, crew=crew, cases=cases)
        report, index = compress_slides(slides, tmp_path / name, model, settings, options=options)
        assert report.count("done") == 3
        assert report.num_encoded == report.num_patches > 0
        assert index.is_file()
        assert index.with_name("cases.csv").is_file()
        jobs[name] = contents(tmp_path / name)
    assert jobs["alone"].keys() == jobs["shared"].keys()
    for name, content in jobs["alone"].items():
        if name.endswith((".csv", ".jpg", ".geojson")) or "tcssa" in name:
            assert jobs["shared"][name] == content, name
