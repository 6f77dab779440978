"""Files of patients: the merge of their slides', renewed with them, by every runtime that can."""

import csv
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from exports import Exported
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa.errors import UsageError
from tcssa.features import open_bag
from tcssa.jobs.watch import SlideEvent, Watch
from tcssa.reporter import Silent
from tcssa_cli.main import run as run_tcssa
from tcssa_runtimes import EncodeOptions, EncodeReport, encode, open_runtime
from tcssa_runtimes.archive.case_files import CaseFiles
from tcssa_runtimes.archive.inputs import Shard
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.archive.slot_files import require_facts
from tcssa_runtimes.archive.slot_state import read_state

P = "TCGA-AA-0001"
NAMES = [f"{P}-DX1", f"{P}-DX2", "n1", "n2", "n3"]
TABLE = {"n1": "q", "n2": "q"}


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Five slides: two of a TCGA patient, two of patient q by the table, one of nobody."""
    for i, name in enumerate(NAMES):
        write_bag(tmp_path / "features" / f"{name}.h5", 40 + 15 * i, seed=i)
    return tmp_path / "features"


def encoded(
    features: Path, model: Path, reporter: Silent | None = None
) -> tuple[EncodeReport, CaseFiles]:
    cases, out = CaseFiles(TABLE), features.parent / "out"
    report = encode(
        [features], out, open_runtime(model), reporter or Silent(), EncodeOptions(cases=cases)
    )
    return report, cases


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {row["case_id"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("kind", ["torch", "chunked"])
def test_a_patients_file_is_that_of_all_patches_together(
    features: Path, checkpoint: Path, exported: Exported, kind: str
) -> None:
    model = checkpoint
    if kind == "chunked":
        model = exported(salience=True, graph="chunked", chunk_patches=64)
    reporter = Silent()
    report, cases = encoded(features, model, reporter)
    assert (report.num_encoded, cases.num_merged, report.failed) == (5, 3, [])
    out = features.parent / "out"
    with open_runtime(model) as runtime:
        slides = [out / "slide_features_tcssa" / f"{name}.h5" for name in ("n1", "n2")]
        merge_slides(slides, out / "by-hand.h5", runtime)
        patches = []
        for name in ("n1", "n2"):
            with open_bag(features / f"{name}.h5") as bag:
                patches.append(bag.read())
        whole = runtime.encode(np.concatenate(patches))
    with h5py.File(out / "case_features_tcssa" / "q.h5") as file:
        with h5py.File(out / "by-hand.h5") as by_hand:
            assert all(np.array_equal(file[key], by_hand[key]) for key in file)
        assert "centroids" not in file
        assert whole.means is not None
        np.testing.assert_allclose(file["mass"][:], whole.mass, rtol=1e-6)
        np.testing.assert_allclose(file["means"][:], whole.means, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(file["features"][:], whole.slots, rtol=1e-5, atol=1e-5)
    index = rows(out / "cases.csv")
    assert [*index] == [P, "n3", "q"]
    assert (index["q"]["slides"], index["q"]["num_slides"]) == ("n1; n2", "2")
    assert index["q"]["num_patches"] == str(whole.num_patches) == "155"
    assert any("no patient is known for 1 slide" in text for text in reporter.warnings)


def test_only_the_patients_of_new_and_changed_slides_are_merged_again(
    features: Path, checkpoint: Path
) -> None:
    encoded(features, checkpoint)
    report, cases = encoded(features, checkpoint)
    assert (report.num_encoded, cases.num_merged, cases.num_skipped) == (0, 0, 3)
    stat = (features / "n1.h5").stat()
    write_bag(features / "n1.h5", 70, seed=9)
    os.utime(features / "n1.h5", ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))  # older than n2
    report, cases = encoded(features, checkpoint)
    assert (report.num_encoded, cases.num_merged, cases.num_skipped) == (1, 1, 2)
    write_bag(features / f"{P}-DX3.h5", 10, seed=10)
    _, cases = encoded(features, checkpoint)
    assert (cases.num_merged, cases.num_skipped) == (1, 2)
    file = features.parent / "out" / "case_features_tcssa" / "n3.h5"
    file.write_bytes(b"damaged")
    _, cases = encoded(features, checkpoint)
    assert (cases.num_merged, read_state(file).facts.num_patches) == (1, 100)


def test_a_patient_without_one_of_the_slides_is_named_and_an_empty_slide_adds_nothing(
    features: Path, checkpoint: Path
) -> None:
    encoded(features, checkpoint)
    (features / "n1.h5").write_bytes(b"no HDF5")
    write_bag(features / f"{P}-DX2.h5", 0)
    report, cases = encoded(features, checkpoint)
    assert [path.reason for path in cases.failed] == ["is not merged without its slide n1"]
    assert {failed.path.name for failed in report.failed} == {"n1.h5", "q.h5"}
    index = rows(features.parent / "out" / "cases.csv")
    assert {name: row["slides"] for name, row in index.items()} == {P: f"{P}-DX1", "n3": "n3"}


def test_patients_of_slides_that_another_process_has_are_left_to_it(
    features: Path, checkpoint: Path
) -> None:
    out = features.parent / "out"
    out.mkdir()
    lock = out / ".n1.tcssa-lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))
    report, cases = encoded(features, checkpoint)
    assert (cases.num_merged, report.failed) == (2, [])
    assert [path.name for path in report.taken] == ["n1.h5"]
    assert [*rows(out / "cases.csv")] == [P, "n3"]
    assert not (out / "failed.csv").exists()
    encode([features / "n1.h5"], features.parent / "other", open_runtime(checkpoint))
    done = Path("slide_features_tcssa", "n1.h5")

    class Other(Watch):
        """The other process, which ends its slide while this one is at work."""

        def slide(self, event: SlideEvent) -> None:
            if event.outcome == "taken":
                (features.parent / "other" / done).rename(out / done)

    cases = CaseFiles(TABLE)
    options = EncodeOptions(cases=cases, watch=Other())
    report = encode([features], out, open_runtime(checkpoint), Silent(), options)
    assert (report.num_encoded, report.failed) == (0, [])
    assert (cases.num_merged, cases.num_skipped) == (1, 2)
    assert [*rows(out / "cases.csv")] == [P, "n3", "q"]


def test_slides_keep_their_assignments_and_patients_do_without(
    features: Path, checkpoint: Path
) -> None:
    out, cases = features.parent / "out", CaseFiles(TABLE)
    runtime = open_runtime(checkpoint)
    encode([features], out, runtime, Silent(), EncodeOptions(assignments=True, cases=cases))
    assert cases.num_merged == 3
    for folder, keeps in (("slide_features_tcssa", True), ("case_features_tcssa", False)):
        kept = {require_facts(path).has_assignments for path in (out / folder).iterdir()}
        assert kept == {keeps}


def test_what_cannot_be_merged_is_refused_before_anything_is_encoded(
    features: Path, checkpoint: Path, exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="one graph for whole slides"):
        encoded(features, exported(salience=True))
    save_compressor(make_compressor(spatial=True), tmp_path / "places.safetensors", "test_encoder")
    with pytest.raises(UsageError, match="places of different slides do not add up"):
        encoded(features, tmp_path / "places.safetensors")
    runtime, out = open_runtime(checkpoint), tmp_path / "out"
    options = EncodeOptions(cases=CaseFiles(TABLE), shard=Shard(1, 2))
    with pytest.raises(UsageError, match="slides may lie in several shards"):
        encode([features], out, runtime, Silent(), options)
    with pytest.raises(UsageError, match="case_id 'a/b' is no plain name"):
        encode([features], out, runtime, Silent(), EncodeOptions(cases=CaseFiles({"n1": "a/b"})))
    assert not out.exists()


def test_the_command_writes_slides_and_patients(
    features: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = features.parent / "patients.csv", features.parent / "out"
    table.write_text("slide_id,case_id\nn1,q\nn2,q\n")
    words = ["encode", str(features), "--model", str(checkpoint), "--out", str(out)]
    assert run_tcssa([*words, "--cases", str(table)]) == 2
    assert "--cases is of no use without --by case" in capsys.readouterr().err
    assert run_tcssa([*words, "--cases", str(table), "--by", "case"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 patients merged, 0 done before, 0 failed" in told
    assert run_tcssa([*words, "--cases", str(table), "--by", "case", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["num_cases_merged"], found["num_cases_skipped"]) == (0, 3)
