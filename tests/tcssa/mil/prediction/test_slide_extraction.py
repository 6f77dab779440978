"""Slides are extracted as the features were that a model was trained on."""

from pathlib import Path
from typing import Any

import pytest
from slide_files import draw_slides, write_slide

from tcssa.errors import RunError, UsageError
from tcssa.features import open_bag
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.mil.prediction.slide_extraction import extract_slides, extraction_settings
from tcssa.reporter import Silent
from tcssa.slides import ExtractSettings, find_slides

ENCODER = "efficientnet_lite0_random"
MADE = ExtractionRecord(mpp=1.0, patch_size=112, overlap=28, min_tissue=0.5, tissue="otsu")


def settings(
    of_run: str | None, made: ExtractionRecord, reporter: Silent | None = None, **flags: Any
) -> ExtractSettings:
    config = flags.pop("config", None)
    return extraction_settings(
        Path("run"), of_run, made, reporter or Silent(), flags=flags, config=config
    )


def test_the_encoder_and_the_grid_are_those_of_training() -> None:
    reporter = Silent()
    found = settings(ENCODER, MADE, reporter, device="cpu")
    assert (found.encoder, found.mpp, found.patch_size, found.overlap) == (ENCODER, 1.0, 112, 28)
    assert found.min_tissue == 0.5
    assert not reporter.warnings


def test_what_differs_from_training_or_is_not_known_is_warned_of(tmp_path: Path) -> None:
    reporter = Silent()
    (tmp_path / "extract.yaml").write_text("magnification: 20\n")
    found = settings(ENCODER, MADE, reporter, config=tmp_path / "extract.yaml")
    assert found.mpp == 0.5
    assert "features of mpp = 1.0, the slides are extracted with 0.5" in reporter.warnings[0]
    reporter = Silent()
    other = MADE.model_copy(update={"encoder_weights": "other", "tissue": "mine:find"})
    settings(ENCODER, other, reporter)
    assert any("encoder_weights = other" in text for text in reporter.warnings)
    assert any("tissue = mine:find" in text for text in reporter.warnings)


def test_how_patches_are_cut_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"patches of its training were cut \(mpp, patch_size"):
        settings(ENCODER, ExtractionRecord())
    (tmp_path / "extract.yaml").write_text("magnification: 20\npatch_size: 112\nstride: 112\n")
    found = settings(ENCODER, ExtractionRecord(), config=tmp_path / "extract.yaml")
    assert (found.mpp, found.patch_size, found.overlap) == (0.5, 112, 0)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="was trained on features of 'efficientnet_lite0_random'"):
        settings(ENCODER, MADE, encoder="efficientnet_lite0")
    with pytest.raises(UsageError, match="does not say which encoder"):
        settings(None, MADE)
    assert settings(None, MADE, encoder=ENCODER).encoder == ENCODER
    with pytest.raises(UsageError, match="which tcssa cannot load"):
        settings("resnet18_of_mine", MADE)
    with pytest.raises(RunError, match="python:mine:make"):
        settings("python:mine:make", MADE)


def test_slides_that_have_no_features_are_named(tmp_path: Path) -> None:
    import numpy as np

    (tissue,) = draw_slides(tmp_path / "slides", 1, width=784, height=784)
    write_slide(tmp_path / "slides" / "glass.tif", np.full((500, 500, 3), 243, np.uint8))
    (tmp_path / "slides" / "broken.tif").write_bytes(b"no slide")
    reporter = Silent()
    bags, failed = extract_slides(
        find_slides([tmp_path / "slides"]), tmp_path / "job", settings(ENCODER, MADE), reporter
    )
    assert [bag.slide_id for bag in bags] == [tissue.stem]
    assert sorted(each.slide_id for each in failed) == ["broken", "glass"]
    with open_bag(bags[0]) as bag:
        assert ExtractionRecord.of(bag.attributes).mpp == 1.0
