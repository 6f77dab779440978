"""The folders and files of an extraction."""

from pathlib import Path

import pytest

from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.settings import ExtractSettings

JOB = Path("job")


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({}, "20x_224px_0px_overlap/features_efficientnet_lite0"),
        ({"mpp": 0.265, "patch_size": 512}, "37.74x_512px_0px_overlap/features_efficientnet_lite0"),
        ({"magnification": 5, "stride": 200}, "5x_224px_24px_overlap/features_efficientnet_lite0"),
        ({"encoder": "uni_v1"}, "20x_224px_0px_overlap/features_uni_v1"),
    ],
)
def test_folders_say_grid_and_encoder(settings: dict[str, object], folder: str) -> None:
    layout = JobLayout.of(JOB, ExtractSettings.model_validate(settings))
    assert layout.features == JOB / folder


def test_an_encoders_address_is_one_folder() -> None:
    for encoder in ("timm:hf-hub:owner/model", "open_clip:ViT-B-16/laion2b", "../x/../../etc"):
        layout = JobLayout.of(
            JOB, ExtractSettings(encoder="uni").model_copy(update={"encoder": encoder})
        )
        assert layout.features.parent == layout.grid
        assert not set(':/\\*?"<>|') & set(layout.features.name)


def test_every_file_of_a_slide_lies_in_a_folder_that_is_made() -> None:
    layout = JobLayout.of(JOB, ExtractSettings())
    files = [
        layout.thumbnail_file("s.1"),
        layout.contours_file("s.1"),
        layout.geojson_file("s.1"),
        layout.patches_file("s.1"),
        layout.features_file("s.1"),
    ]
    assert len(set(files)) == len(files)
    assert {file.parent for file in files} | {layout.failures.parent} == set(layout.folders)
    assert all(file.name.startswith("s.1") for file in files)


def test_encoders_share_the_patches_of_a_grid_and_grids_share_none() -> None:
    one, other, finer = (
        JobLayout.of(JOB, ExtractSettings.model_validate(settings))
        for settings in ({}, {"encoder": "uni"}, {"mpp": 0.25})
    )
    assert one.patches_file("s") == other.patches_file("s") != finer.patches_file("s")
    assert len({each.features_file("s") for each in (one, other, finer)}) == 3
