"""Encoded parts of a slide add up to the slide, without their features."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from exports import Exported
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa.errors import FeatureFileError, UsageError
from tcssa.features import open_bag
from tcssa.reporter import Silent
from tcssa_cli.main import run as run_tcssa
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.archive.slot_files import read_facts
from tcssa_runtimes.archive.slot_state import read_state


def encoded(folder: Path, model: Path, parts: int = 2) -> tuple[list[Path], Path]:
    """A slide's parts, and the whole slide, encoded by the same model."""
    whole = write_bag(folder / "whole" / "S.h5", num_patches=90)
    with open_bag(whole) as bag:
        features, coords = bag.read(), bag.read_coords()
    assert coords is not None
    for part, rows in enumerate(np.array_split(np.arange(90), parts)):
        path = folder / "parts" / f"S{part}.h5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=features[rows]).attrs["encoder"] = "test_encoder"
            file.create_dataset("coords", data=coords[rows]).attrs["patch_size_level0"] = 224
    with open_runtime(model) as runtime:
        encode([folder / "parts", folder / "whole"], folder / "out", runtime, Silent())
    found = folder / "out" / "slide_features_tcssa"
    return [found / f"S{part}.h5" for part in range(parts)], found / "S.h5"


@pytest.mark.parametrize("kind", ["torch", "chunked"])
def test_parts_add_up_to_the_slide(
    tmp_path: Path, checkpoint: Path, exported: Exported, kind: str
) -> None:
    model = checkpoint
    if kind == "chunked":
        model = exported(salience=True, graph="chunked", chunk_patches=64)
    parts, whole = encoded(tmp_path, model, parts=3)
    with open_runtime(model) as runtime:
        merge_slides(parts, tmp_path / "C.h5", runtime, same_slide=True)
    with h5py.File(tmp_path / "C.h5") as merged, h5py.File(whole) as expected:
        for name in ("features", "mass", "means", "centroids", "spread"):
            np.testing.assert_allclose(merged[name][:], expected[name][:], rtol=2e-5, atol=2e-5)
        assert merged["features"].attrs["num_patches"] == 90
        assert merged["features"].attrs["encoder"] == "test_encoder"
    facts = read_facts(tmp_path / "C.h5")
    assert facts is not None
    assert facts.origin.input_name == "S0.h5 + S1.h5 + S2.h5"


def test_merging_is_in_any_order_and_of_merged_files_too(tmp_path: Path, checkpoint: Path) -> None:
    parts, _ = encoded(tmp_path, checkpoint, parts=3)
    with open_runtime(checkpoint) as runtime:
        merge_slides(parts[::-1], tmp_path / "A.h5", runtime)
        merge_slides(parts[:2], tmp_path / "B.h5", runtime)
        merge_slides([tmp_path / "B.h5", parts[2]], tmp_path / "C.h5", runtime)
    one, other = read_state(tmp_path / "A.h5"), read_state(tmp_path / "C.h5")
    np.testing.assert_allclose(one.sums.weighted_sum, other.sums.weighted_sum, atol=1e-5)
    assert one.facts.num_patches == other.facts.num_patches == 90


def test_slides_of_a_patient_have_no_places_together(tmp_path: Path, checkpoint: Path) -> None:
    parts, _ = encoded(tmp_path, checkpoint)
    with open_runtime(checkpoint) as runtime:
        merged = merge_slides(parts, tmp_path / "C.h5", runtime)
    assert merged.positions is None
    with h5py.File(tmp_path / "C.h5") as file:
        assert "centroids" not in file


def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, checkpoint: Path, exported: Exported
) -> None:
    parts, _ = encoded(tmp_path, checkpoint)
    save_compressor(make_compressor(seed=1), tmp_path / "other.safetensors", "test_encoder")
    out = tmp_path / "C.h5"
    with (
        open_runtime(tmp_path / "other.safetensors") as other,
        pytest.raises(FeatureFileError, match="of another model"),
    ):
        merge_slides(parts, out, other)
    with (
        open_runtime(exported(salience=True)) as full,
        pytest.raises(UsageError, match="whole slides"),
    ):
        merge_slides(parts, out, full)
    shutil.copy(parts[0], tmp_path / "again.h5")
    with open_runtime(checkpoint) as runtime:
        with pytest.raises(FeatureFileError, match="the same patches as"):
            merge_slides([parts[0], tmp_path / "again.h5"], out, runtime)
        with pytest.raises(UsageError, match="two files or more"):
            merge_slides(parts[:1], out, runtime)
        with h5py.File(parts[1], "r+") as file:
            del file["means"]
            file["features"].attrs["format_version"] = 2
        assert read_facts(parts[1]) is not None
        with pytest.raises(FeatureFileError, match="does not keep the means"):
            merge_slides(parts, out, runtime)
    assert not out.exists()


def test_the_command_merges(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, _ = encoded(tmp_path, checkpoint)
    out = tmp_path / "C.h5"
    words = ["merge", *parts, "--model", checkpoint, "--same-slide", "--out", out, "--json"]
    assert run_tcssa([str(word) for word in words]) == 0
    assert json.loads(capsys.readouterr().out)["num_patches"] == 90
    assert read_state(out).positions is not None
