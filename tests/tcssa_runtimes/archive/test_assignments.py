"""Files of slots that keep which slots each patch went to."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from exports import Exported
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa.errors import FeatureFileError
from tcssa.features import open_bag
from tcssa.slides.extraction.verify import verify
from tcssa_runtimes import EncodeOptions, EncodeReport, encode, open_runtime
from tcssa_runtimes.archive.slot_files import FOLDER, require_facts
from tcssa_runtimes.archive.stored_slides import find_stored, read_stored


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = write_bag(tmp_path / "bags" / "s.h5", 90, seed=4)
    with h5py.File(path, "r+") as file:
        file["coords"].attrs.update({"mpp_level0": 0.5, "level0_width": 9000})
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_compressor(make_compressor(salience=True), path, "test_encoder")
    return path


def encoded(model: Path, bag: Path, *, assignments: bool = True) -> tuple[EncodeReport, Path]:
    out = bag.parents[1] / "out"
    runtime = open_runtime(model, device="cpu")
    return encode(
        [bag], out, runtime, options=EncodeOptions(assignments=assignments)
    ), out / FOLDER / "s.h5"


@pytest.mark.parametrize("kind", ["torch", "full", "chunked"])
def test_each_patch_has_its_slots_weights_salience_and_corner(
    kind: str, bag: Path, checkpoint: Path, exported: Exported
) -> None:
    options = {"chunk_patches": 64} if kind == "chunked" else {}
    model = checkpoint if kind == "torch" else exported(salience=True, graph=kind, **options)
    report, path = encoded(model, bag)
    assert not report.failed
    with open_bag(bag) as opened:
        features, corners = opened.read(), opened.read_coords()
    with open_runtime(model, device="cpu") as runtime:
        (found,) = runtime.compress([features])
    with h5py.File(path) as file:
        kept = file["patches"]
        assert kept["slots"].dtype == np.uint8
        assert kept["weights"].dtype == kept["salience"].dtype == np.float16
        np.testing.assert_array_equal(kept["slots"], found.assignments)
        np.testing.assert_allclose(kept["weights"], found.weights, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(kept["salience"], found.salience, rtol=1e-3)
        np.testing.assert_array_equal(kept["coords"], corners)
        assert dict(kept.attrs) == {
            "coords_unit": "level0_px", "patch_size": 224.0, "um_per_coord": 0.5
        }  # fmt: skip
        assert file["features"].attrs["level0_width"] == 9000


def test_a_slide_without_them_is_encoded_again_and_one_with_them_is_done(
    bag: Path, checkpoint: Path
) -> None:
    _, path = encoded(checkpoint, bag, assignments=False)
    assert not require_facts(path).has_assignments
    with pytest.raises(FeatureFileError, match="does not keep which slots its patches went to"):
        read_stored(path)
    report, _ = encoded(checkpoint, bag)
    assert report.num_renewed == 1
    assert encoded(checkpoint, bag)[0].num_skipped == 1
    assert encoded(checkpoint, bag, assignments=False)[0].num_skipped == 1
    assert require_facts(path).has_assignments


@pytest.mark.parametrize("fault", ["slots", "weights", "coords"])
def test_assignments_that_make_no_sense_are_refused(
    fault: str, bag: Path, checkpoint: Path
) -> None:
    _, path = encoded(checkpoint, bag)
    with h5py.File(path, "r+") as file:
        file["patches"][fault][3] = {"slots": 200, "weights": np.nan, "coords": 0}[fault]
        if fault == "coords":
            del file["patches/coords"]
            file["patches/coords"] = np.zeros((4, 2))
    with pytest.raises(FeatureFileError, match="its assignments of patches make no sense"):
        read_stored(path)


def test_an_archive_is_told_from_features(bag: Path, checkpoint: Path) -> None:
    _, path = encoded(checkpoint, bag)
    places = [path, path.parent, path.parents[1]]
    assert [find_stored([str(place)]) for place in places] == [[path]] * 3
    assert find_stored([str(path), str(bag)]) is None
    (path.parents[1] / "features_test").mkdir()
    assert find_stored([str(path.parents[1])]) is None


def test_verify_reads_the_assignments(bag: Path, checkpoint: Path) -> None:
    _, path = encoded(checkpoint, bag)
    job = path.parents[2]  # whose only grid is the archive
    assert verify(job).faults == []
    with h5py.File(path, "r+") as file:
        file["patches/weights"][0] = np.nan
    (fault,) = verify(job).faults
    assert fault.reason == "its assignments of patches make no sense"
