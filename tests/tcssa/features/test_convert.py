"""Bags in the layouts of other tools, beside the files that those tools wrote.

What we write is read here by h5py and torch alone, after the description of the layouts, and
not by our reader.
"""

import socket
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from factories import write_bag
from hypothesis import given
from hypothesis import strategies as st
from shared_data import require_shared

from tcssa.errors import UnknownNameError, UsageError
from tcssa.features import Bag, BagRef
from tcssa.features.bag_metadata import describe
from tcssa.features.convert import convert
from tcssa.reporter import Silent

SLIDE = "CMU-1-Small-Region"
MPP = 0.499
TRIDENT = f"trident/job/20x_256px_0px_overlap/features_resnet18_random/{SLIDE}.h5"
CLAM = f"clam/feats/h5_files/{SLIDE}.h5"
CLAM_PATCHES = f"clam/job/patches/{SLIDE}.h5"
STAMP = f"stamp/job/resnet18-random-49b04e14/{SLIDE}.h5"


def interop(name: str) -> Path:
    return require_shared("interop") / name


def kind(value: Any) -> str:
    """The kind of an attribute: text, whole, real; and its length if it is an array."""
    array = np.asarray(value)
    name = {"U": "text", "O": "text", "i": "whole", "u": "whole", "f": "real", "b": "truth"}
    return f"{name[array.dtype.kind]}{list(array.shape) or ''}"


def layout_of(path: Path) -> dict[str, Any]:
    """Every dataset's type, width and attributes, and the root's attributes."""
    with h5py.File(path) as file:
        found: dict[str, Any] = {"/": {name: kind(value) for name, value in file.attrs.items()}}
        for name, dataset in file.items():
            attributes = {each: kind(value) for each, value in dataset.attrs.items()}
            found[name] = (str(dataset.dtype), dataset.ndim, attributes)
    return found


def content(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file.items()}


def assert_attributes_of(ours: dict[str, str], theirs: dict[str, str]) -> None:
    assert {name: ours.get(name) for name in theirs} == theirs


def test_our_trident_files_have_all_that_tridents_have(tmp_path: Path) -> None:
    genuine = interop(TRIDENT)
    report = convert([genuine], "trident", tmp_path)
    made = tmp_path / "features_resnet18_random" / f"{SLIDE}.h5"
    ours, theirs = layout_of(made), layout_of(genuine)
    assert set(ours) == {*theirs, "failed_coords"}
    assert ours["/"] == theirs["/"] == {}
    for dataset in ("features", "coords"):
        assert ours[dataset][:2] == theirs[dataset][:2]
        assert_attributes_of(ours[dataset][2], theirs[dataset][2])
    for name, values in content(genuine).items():
        assert np.array_equal(content(made)[name], values)
    with h5py.File(made) as our_file, h5py.File(genuine) as their_file:
        for name in {*their_file["coords"].attrs} - {"savetodir"}:
            assert our_file["coords"].attrs[name] == their_file["coords"].attrs[name], name
    assert report.unknown == {"mpp": [SLIDE]}


def test_our_clam_files_are_as_clams(tmp_path: Path) -> None:
    genuine = interop(TRIDENT)
    convert([genuine], "clam", tmp_path)
    made = tmp_path / "h5_files" / f"{SLIDE}.h5"
    assert layout_of(made) == layout_of(interop(CLAM))
    patches = tmp_path / "patches" / f"{SLIDE}.h5"
    assert layout_of(patches) == layout_of(interop(CLAM_PATCHES))
    tensor = torch.load(tmp_path / "pt_files" / f"{SLIDE}.pt", weights_only=True)
    theirs = torch.load(interop(f"clam/feats/pt_files/{SLIDE}.pt"), weights_only=True)
    assert (type(tensor), tensor.dtype, tensor.ndim) == (type(theirs), theirs.dtype, theirs.ndim)
    source = content(genuine)
    assert np.array_equal(tensor.numpy(), source["features"])
    assert np.array_equal(content(made)["features"], source["features"])
    assert np.array_equal(content(made)["coords"], source["coords"])
    assert np.array_equal(content(patches)["coords"], source["coords"])
    with h5py.File(patches) as file:
        said = dict(file["coords"].attrs)
    assert said["patch_size"] * said["downsample"][0] == 256
    assert said["level_dim"].tolist() == [2220, 2967]


def test_our_stamp_files_are_as_stamps(tmp_path: Path) -> None:
    genuine = interop(TRIDENT)
    convert([genuine], "stamp", tmp_path, slide_mpp=MPP)
    made = tmp_path / "resnet18_random" / f"{SLIDE}.h5"
    ours, theirs = layout_of(made), layout_of(interop(STAMP))
    assert {*ours["/"]} - {*theirs["/"]} == {"mpp_level0", "tcssa_version"}
    assert_attributes_of(ours.pop("/"), theirs.pop("/"))
    assert ours == theirs
    source = content(genuine)
    assert np.array_equal(content(made)["feats"], source["features"].astype(np.float16))
    assert np.allclose(content(made)["coords"], source["coords"] * MPP, rtol=1e-6)
    with h5py.File(made) as file:
        assert file["feats"].chunks is None
        assert (file.attrs["unit"], file.attrs["tile_size_px"]) == ("um", 256)
        assert file.attrs["tile_size_um"] == pytest.approx(256 * MPP)


def test_trident_to_clam_and_back_is_the_same(tmp_path: Path) -> None:
    genuine = interop(TRIDENT)
    convert([genuine], "clam", tmp_path / "clam")
    convert([tmp_path / "clam/h5_files"], "trident", tmp_path / "back")
    made = tmp_path / "back/features_unknown" / f"{SLIDE}.h5"
    for name, values in content(genuine).items():
        assert np.array_equal(content(made)[name], values)
    with h5py.File(made) as file:
        said = dict(file["coords"].attrs)
    assert (said["patch_size_level0"], said["level0_width"], said["level0_height"]) == (
        256,
        2220,
        2967,
    )


def test_trident_to_stamp_and_back_is_the_same_within_float16(tmp_path: Path) -> None:
    genuine = interop(TRIDENT)
    convert([genuine], "stamp", tmp_path / "stamp", slide_mpp=MPP)
    convert([tmp_path / "stamp"], "trident", tmp_path / "back", resolutions={SLIDE: MPP})
    made = content(tmp_path / "back/features_resnet18_random" / f"{SLIDE}.h5")
    source = content(genuine)
    assert made["features"].dtype == np.float16
    assert np.array_equal(made["features"], source["features"].astype(np.float16))
    assert np.array_equal(made["coords"], source["coords"])


def test_genuine_stamp_files_become_pixels(tmp_path: Path) -> None:
    convert([interop(STAMP)], "trident", tmp_path, slide_mpp=MPP)
    made = tmp_path / "features_resnet18-random" / f"{SLIDE}.h5"
    source = content(interop(STAMP))
    assert np.array_equal(content(made)["coords"], np.rint(source["coords"].astype(float) / MPP))
    assert np.array_equal(content(made)["features"], source["feats"])
    with h5py.File(made) as file:
        said = dict(file["coords"].attrs)
    # 112 µm are 224.4 px of this slide; the encoder saw 224
    assert (said["patch_size"], said["patch_size_level0"]) == (224, 224)
    assert (said["mpp_level0"], said["mpp_source"], said["mpp_target"]) == (MPP, "given", 0.5)
    assert said["target_magnification"] == 20


@given(
    corners=st.lists(st.tuples(*[st.integers(0, 200_000)] * 2), min_size=1, max_size=20),
    mpp=st.floats(0.1, 4),
)
def test_pixels_survive_microns(corners: list[tuple[int, int]], mpp: float) -> None:
    coords = np.array(corners, dtype=np.int64)
    features = np.zeros((len(coords), 1), np.float32)
    there = describe(Bag(BagRef(Path("s.h5")), features, coords), mpp, needs_mpp=True)
    um = there.microns(coords)
    back = describe(Bag(BagRef(Path("s.h5")), features, um, "um"), mpp, needs_mpp=False)
    assert np.array_equal(back.pixels(um), coords)


def test_what_a_tensor_does_not_know_is_counted_and_not_invented(tmp_path: Path) -> None:
    torch.save(torch.ones(5, 3), tmp_path / "s.pt")
    for to in ("trident", "clam", "stamp"):
        silent = Silent()
        report = convert([tmp_path / "s.pt"], to, tmp_path / to, silent)
        assert report.num_converted == 1
        assert report.unknown == {
            fact: ["s"] for fact in ("coordinates", "mpp", "encoder", "patch size")
        }
        assert silent.warnings[0] == "coordinates not known of 1 slide: s"
    assert set(content(tmp_path / "trident/features_unknown/s.h5")) == {"features"}
    assert [path.name for path in (tmp_path / "clam").rglob("*.*")] == ["s.pt"]
    made = tmp_path / "stamp/unknown/s.h5"
    assert set(content(made)) == {"feats"}
    assert {"unit", "tile_size_um", "extractor"}.isdisjoint(layout_of(made)["/"])


def test_a_slide_of_unknown_resolution_fails_by_name_and_the_rest_goes_on(tmp_path: Path) -> None:
    known, strange = write_bag(tmp_path / "in/a.h5"), write_bag(tmp_path / "in/b.h5")
    with h5py.File(known, "a") as file:
        file["coords"].attrs["mpp_level0"] = 0.25
    (tmp_path / "in/c.h5").write_bytes(b"no HDF5")
    report = convert([tmp_path / "in"], "stamp", tmp_path / "out")
    assert report.num_converted == 1
    assert [failed.path.stem for failed in report.failed] == ["b", "c"]
    assert report.failed[0].path == strange
    assert "slide 'b' is not known" in report.failed[0].reason
    assert "--slide-mpp" in str(report.failed[0].hint)
    assert np.allclose(
        content(tmp_path / "out/test_encoder/a.h5")["coords"], content(known)["coords"] * 0.25
    )


def test_features_that_float16_cannot_hold_leave_no_file(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.h5", shift=1e6)
    report = convert([path], "stamp", tmp_path / "out", slide_mpp=0.5)
    assert "are not finite in float16" in report.failed[0].reason
    assert not [found for found in (tmp_path / "out").rglob("*") if found.is_file()]


def test_old_stamp_files_without_a_unit_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["feats"], file["coords"] = np.ones((2, 3), np.float16), np.ones((2, 2))
    report = convert([tmp_path / "a.h5"], "trident", tmp_path / "out", slide_mpp=0.5)
    assert "does not tell the unit" in report.failed[0].reason


def clam_patches(path: Path, corners: Any, **said: Any) -> Path:
    """CLAM's file of patches of one slide, and its features beside it."""
    for folder in ("patches", "h5_files"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    with h5py.File(path / "patches/s.h5", "w") as file:
        dataset = file.create_dataset("coords", data=corners)
        dataset.attrs.update({"patch_level": 0, "downsample": np.ones(2), **said})
    with h5py.File(path / "h5_files/s.h5", "w") as file:
        file["coords"] = np.asarray(corners, np.int32)
        file["features"] = np.ones((len(corners), 4), np.float32)
    return path / "h5_files"


def read_footprint(patches: Path) -> int:
    """Side in level-0 pixels that TRIDENT reads of a patch, by its own formula."""
    with h5py.File(patches) as file:
        said = file["coords"].attrs
        scale = (10 / said["target_magnification"]) / (10 / said["level0_magnification"])
        return round(said["patch_size"] * scale)


def test_trident_gets_the_file_of_patches_that_its_tools_ask_for(tmp_path: Path) -> None:
    corners = [[0, 0], [112, 0], [0, 112]]
    source = clam_patches(tmp_path / "clam", corners, patch_size=112)
    convert([source], "trident", tmp_path / "out")
    patches = tmp_path / "out/patches/s_patches.h5"
    assert content(patches)["coords"].tolist() == corners
    with h5py.File(patches) as file:
        said = dict(file["coords"].attrs)
    assert (said["patch_size"], said["patch_size_level0"], said["name"]) == (112, 112, "s")
    assert "level0_magnification" not in said  # nothing tells it
    convert([source], "trident", tmp_path / "known", slide_mpp=0.5)
    assert read_footprint(tmp_path / "known/patches/s_patches.h5") == 112


@pytest.mark.parametrize(("mpp", "um"), [(0.2325, 112.0), (0.499, 112.0), (0.7, 256.0), (0.13, 56)])
def test_trident_reads_the_footprint_of_the_source_at_any_resolution(
    tmp_path: Path, mpp: float, um: float
) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["feats"], file["coords"] = np.ones((2, 3), np.float16), np.array([[0, 0], [um, 0]])
        file.attrs.update(unit="um", tile_size_um=um, tile_size_px=224, extractor="x")
    convert([tmp_path / "s.h5"], "trident", tmp_path / "out", slide_mpp=mpp)
    assert read_footprint(tmp_path / "out/patches/s_patches.h5") == round(um / mpp)


def test_features_of_two_encoders_share_their_patches_and_no_others(tmp_path: Path) -> None:
    write_bag(tmp_path / "a/s.h5", encoder="a")
    write_bag(tmp_path / "b/s.h5", encoder="b", seed=1)
    write_bag(tmp_path / "c/s.h5", encoder="c", num_patches=7)
    out = tmp_path / "out"
    for name in "ab":
        assert convert([tmp_path / name], "trident", out).num_converted == 1
    (failed,) = convert([tmp_path / "c"], "trident", out).failed
    assert "features_a, features_b stand on other patches of this slide" in failed.reason
    assert not (out / "features_c").exists()
    assert len(content(out / "patches/s_patches.h5")["coords"]) == 20


def test_the_type_of_features_can_be_asked_for(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.h5")
    half = tmp_path / "half/features_test_encoder"
    convert([path], "trident", half.parent, dtype="float16")
    assert content(half / "a.h5")["features"].dtype == np.float16
    for dtype in (None, "float32"):
        convert([half], "trident", tmp_path / str(dtype), dtype=dtype)
        made = tmp_path / str(dtype) / "features_test_encoder/a.h5"
        assert content(made)["features"].dtype == (dtype or "float16")
    with pytest.raises(UsageError, match="'stamp' keeps features in float16, not in float32"):
        convert([path], "stamp", tmp_path / "out", slide_mpp=0.5, dtype="float32")


def test_stamp_files_claim_the_first_version_of_their_layout(tmp_path: Path) -> None:
    """STAMP refuses a file of a version above its own."""
    convert([write_bag(tmp_path / "a.h5")], "stamp", tmp_path / "out", slide_mpp=0.5)
    with h5py.File(tmp_path / "out/test_encoder/a.h5") as file:
        assert file.attrs["stamp_version"] == "2.0.0"


def test_what_is_there_is_kept_until_overwritten(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.h5", seed=0)
    made = tmp_path / "out/features_test_encoder/a.h5"
    convert([path], "trident", tmp_path / "out")
    write_bag(path, seed=1)
    report = convert([path], "trident", tmp_path / "out")
    assert (report.num_converted, report.num_skipped) == (0, 1)
    assert not np.array_equal(content(made)["features"], content(path)["features"])
    assert convert([path], "trident", tmp_path / "out", overwrite=True).num_converted == 1
    assert np.array_equal(content(made)["features"], content(path)["features"])


def test_what_a_killed_call_left_behind_is_removed(tmp_path: Path) -> None:
    host = socket.gethostname()
    left = tmp_path / f"out/h5_files/.b.h5.{host}.{2**22 + 1}.tcssa-tmp"  # above any process id
    left.parent.mkdir(parents=True)
    left.touch()
    convert([write_bag(tmp_path / "a.h5")], "clam", tmp_path / "out")
    assert not left.exists()


def test_a_source_is_not_replaced_by_what_is_made_of_it(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "features_test_encoder/a.h5")
    before = path.read_bytes()
    report = convert([path], "trident", tmp_path, overwrite=True)
    assert "would be replaced" in report.failed[0].reason
    assert path.read_bytes() == before


def test_a_slide_without_patches_is_counted_and_gets_no_file(tmp_path: Path) -> None:
    report = convert([write_bag(tmp_path / "a.h5", num_patches=0)], "clam", tmp_path / "out")
    assert (report.empty, report.num_converted, report.failed) == (["a"], 0, [])
    assert not (tmp_path / "out").exists()


def test_two_sources_of_one_slide_are_refused(tmp_path: Path) -> None:
    paths = [write_bag(tmp_path / folder / "a.h5") for folder in ("x", "y")]
    with pytest.raises(UsageError, match="two files are of slide 'a'"):
        convert(paths, "clam", tmp_path / "out")
    with pytest.raises(UnknownNameError):
        convert(paths[:1], "clamp", tmp_path / "out")


@pytest.mark.parametrize("to", ["trident", "stamp"])
def test_a_large_slide_streams(tmp_path: Path, to: str) -> None:
    path = write_bag(tmp_path / "a.h5", num_patches=100_000, feature_dim=64)
    convert([write_bag(tmp_path / "warm.h5")], to, tmp_path / "out", slide_mpp=0.5)
    tracemalloc.start()
    report = convert([path], to, tmp_path / "out", slide_mpp=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.num_patches == 100_000
    assert peak < 8e6  # the slide is 26 MB
