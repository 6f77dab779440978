"""What is read of a slide, planned before its patches are read."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from pydantic import ValidationError
from slide_files import glass, stained, write_slide

from tcssa.encoders import encoder_spec
from tcssa.errors import UsageError
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.plan import SlidePlan, plan_slide, why_empty
from tcssa.slides.extraction.resume import params_of
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings

SIDE = 64


def half_tissue(folder: Path) -> SlideFile:
    """A slide of 512 x 384 pixels whose left half is tissue."""
    pixels = glass(384, 512)
    pixels[:, :256] = stained(384, 256)
    return SlideFile.at(write_slide(folder / "s1.tif", pixels, mpp=0.5))


def planned(
    slide: SlideFile, job: Path, **choices: object
) -> tuple[SlidePlan, ExtractSettings, JobLayout]:
    settings = ExtractSettings.model_validate({"patch_size": SIDE, **choices})
    layout = JobLayout.of(job, settings)
    return plan_slide(slide, settings, layout, {}), settings, layout


def test_patches_are_those_of_the_tissue_and_their_corners_are_kept(tmp_path: Path) -> None:
    plan, _, layout = planned(half_tissue(tmp_path), tmp_path / "job")
    expected = [[x, y] for y in range(0, 384, SIDE) for x in range(0, 256, SIDE)]
    assert plan.corners.tolist() == expected
    with h5py.File(layout.patches_file("s1")) as file:
        assert file["coords"][:].tolist() == expected
        assert file["coords"].attrs["patch_size_level0"] == SIDE
        assert file["coords"].attrs["level0_width"] == 512


def test_a_grid_on_tridents_scale_is_kept_apart(tmp_path: Path) -> None:
    slide = SlideFile.at(half_tissue(tmp_path).path, mpp=0.465)
    plan, settings, layout = planned(slide, tmp_path / "job", trident_scale=True)
    assert (plan.spec.patch_size_level0, plan.corners[:, 0].max()) == (64, 192)
    with h5py.File(layout.patches_file("s1")) as file:
        said = file["coords"].attrs
        read = said["patch_size"] * said["level0_magnification"] / said["target_magnification"]
        assert read == said["patch_size_level0"] == 64
        assert said["mpp_effective"] == pytest.approx(0.465)
    exact = planned(slide, tmp_path / "exact")[0]
    assert exact.spec.patch_size_level0 == 69  # TRIDENT would read 64 of them
    spec = encoder_spec(settings.encoder, None)
    assert params_of(slide, settings, spec)["trident_scale"] is True
    assert "trident_scale" not in params_of(slide, ExtractSettings(), spec)


def test_pictures_and_outlines_show_the_slide(tmp_path: Path) -> None:
    _, _, layout = planned(half_tissue(tmp_path), tmp_path / "job")
    picture = cv2.imread(str(layout.thumbnail_file("s1")))
    assert picture is not None
    height, width, _ = picture.shape
    assert width * 384 == pytest.approx(height * 512, rel=0.01)
    left, right = picture[:, : width // 2 - 9], picture[:, width // 2 + 9 :]
    assert left.mean() < right.mean() - 50
    (feature,) = json.loads(layout.geojson_file("s1").read_text())["features"]
    outline = np.array(feature["geometry"]["coordinates"][0])
    assert outline.max(axis=0) == pytest.approx([256, 384], abs=4)


def test_a_resolution_that_a_manifest_states_comes_first(tmp_path: Path) -> None:
    stated = SlideFile.at(half_tissue(tmp_path).path, mpp=0.25)
    plan, _, layout = planned(stated, tmp_path / "job", slide_mpp=1.0)
    assert plan.spec.patch_size_level0 == 2 * SIDE
    header = plan.header(layout, "uni", {"n_failed": 3})
    assert header.ours["mpp_level0"] == 0.25
    assert header.ours["mpp_source"] == "given"
    assert header.ours["n_failed"] == 3
    assert header.coords["level0_magnification"] == 40
    assert header.coords["target_magnification"] == 20


def test_features_of_another_encoder_keep_their_patches(tmp_path: Path) -> None:
    slide, job = half_tissue(tmp_path), tmp_path / "job"
    before, _, layout = planned(slide, job)
    other = layout.grid / "features_uni" / "s1.h5"
    other.parent.mkdir()
    other.write_bytes(b"")
    kept = layout.patches_file("s1").read_bytes()
    with pytest.raises(UsageError, match="features_uni stand on other patches"):
        planned(slide, job, tissue="all")
    assert layout.patches_file("s1").read_bytes() == kept
    same, _, _ = planned(slide, job)
    assert np.array_equal(same.corners, before.corners)
    more, _, _ = planned(slide, job, tissue="all", overwrite=True)
    assert len(more.corners) == 2 * len(before.corners)


def test_all_tissue_is_every_patch(tmp_path: Path) -> None:
    pixels = np.full((70, 130, 3), (20, 120, 40), np.uint8)  # small, and of the colour of a pen
    slide = SlideFile.at(write_slide(tmp_path / "s1.tif", pixels, mpp=0.5))
    plan, _, _ = planned(slide, tmp_path / "job", tissue="all", min_tissue=1.0)
    assert plan.corners.tolist() == [[0, 0], [SIDE, 0]]
    assert plan.remarks == ()


def test_how_a_mask_was_read_is_kept(tmp_path: Path) -> None:
    slide, masks = half_tissue(tmp_path), tmp_path / "masks"
    masks.mkdir()
    ring = [[0, 0], [128, 0], [128, 128], [0, 128]]
    area = {"type": "Polygon", "coordinates": [ring]}
    line = {"type": "LineString", "coordinates": ring}
    features = [
        {"type": "Feature", "geometry": shape, "properties": {"classification": {"name": "Tumor"}}}
        for shape in (area, line)
    ]
    (masks / "s1.geojson").write_text(json.dumps(features))
    cv2.imwrite(str(masks / "s1.png"), np.ones((96, 128), np.uint8))
    plan, _, layout = planned(slide, tmp_path / "job", mask=masks, mask_class=["Tumor"])
    assert plan.corners.tolist() == [[0, 0], [64, 0], [0, 64], [64, 64]]
    passed_over = "s1.geojson: without an area, passed over: 1 LineString"
    assert plan.remarks == (passed_over, "of its masks s1.geojson is taken, not s1.png")
    with h5py.File(layout.patches_file("s1")) as file:
        attributes = dict(file["coords"].attrs)
    assert attributes["mask_origin"] == "slide"
    assert json.loads(attributes["mask_classes"]) == ["Tumor"]
    assert json.loads(attributes["mask_remarks"]) == [passed_over]


def test_rules_of_masks_need_a_mask_and_decide_the_features(tmp_path: Path) -> None:
    for name, value in (
        ("mask_class", ["a"]),
        ("mask_background", ["1"]),
        ("mask_origin", "slide"),
    ):
        with pytest.raises(ValidationError, match=f"{name} is about a mask"):
            ExtractSettings.model_validate({name: value})
    with pytest.raises(ValidationError, match="'white' must be numbers, as 255"):
        ExtractSettings(mask=tmp_path, mask_background=["white"])
    slide, spec = half_tissue(tmp_path), encoder_spec("efficientnet_lite0_random", None)
    chosen = [
        {},
        {"mask_class": ["a"]},
        {"mask_background": ["1"]},
        {"mask_origin": "slide"},
    ]
    params = [params_of(slide, ExtractSettings(mask=tmp_path, **each), spec) for each in chosen]
    assert len({json.dumps(each, default=str) for each in params}) == 4
    assert not {"mask_class", "mask_background", "mask_origin"} & params[0].keys()


def test_a_slide_without_a_patch_says_why(tmp_path: Path) -> None:
    blank = SlideFile.at(write_slide(tmp_path / "blank.tif", glass(400, 400)))
    plan, settings, layout = planned(blank, tmp_path / "job")
    assert len(plan.corners) == 0
    picture = layout.contours_file("blank")
    assert picture.is_file()
    assert why_empty(plan, settings, layout) == f"no patch holds 25% of tissue, see {picture}"
    plan, settings, layout = planned(blank, tmp_path / "large", patch_size=512)
    assert why_empty(plan, settings, layout) == (
        "the slide (400 x 400) is smaller than one patch (512 level-0 pixels)"
    )
