"""The features and the picture of one slide: from its file, or from a job that was extracted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tcssa.encoders.registry import encoder_names
from tcssa.errors import SlideError, UsageError
from tcssa.features import open_bag
from tcssa.reporter import Reporter
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.layout import JobLayout
from tcssa.slides.manifest import SlideFile
from tcssa.slides.slide import slide_id_of
from tcssa.vqa.slot_picture import Picture


def extract_slide(
    slide: Path,
    encoder: str | None,
    job: Path,
    reporter: Reporter,
    *,
    slide_mpp: float | None = None,
    device: str = "auto",
) -> Path:
    """Extract the features of one slide, as `tcssa extract` does.

    Args:
        slide: The slide's file.
        encoder: The encoder that the model's features were made with.
        job: The job folder to write; what is there already is not made again.
        reporter: Is told of progress.
        slide_mpp: The slide's level-0 resolution, if it does not state one.
        device: Where the encoder runs.

    Returns:
        The feature file.

    Raises:
        UsageError: The encoder is not known.
        SlideError: The slide cannot be read, or holds no tissue.
    """
    if encoder is None:
        raise UsageError(
            "the run does not say which encoder its features were made with, so a slide cannot "
            "be encoded for it",
            hint="extract the slide with that encoder, and give --features",
        )
    families = tuple(name.partition("<")[0] for name in encoder_names() if "<" in name)
    if encoder not in encoder_names() and not encoder.startswith(families):
        raise UsageError(
            f"the run's features were made with {encoder!r}, which tcssa cannot load",
            hint="extract the slide with that encoder, and give --features",
        )
    where = "cpu" if device == "mps" else device
    settings = ExtractSettings.model_validate(
        {"encoder": encoder, "slide_mpp": slide_mpp, "device": where}
    )
    file = SlideFile(slide, slide_id_of(slide))
    (result,) = extract([file], job, settings, reporter).slides
    if result.status == "failed":
        reason = result.reason or "its features cannot be extracted"
        raise SlideError(slide, reason.removeprefix(f"{slide}: "))
    if not result.num_patches:
        raise SlideError(slide, result.reason or "holds no tissue")
    return JobLayout.of(job, settings).features_file(file.slide_id)


def picture_beside(features: Path) -> Picture | None:
    """The slide in small, where the features lie in a job folder with its thumbnail."""
    above = features.resolve().parents
    if len(above) < 3:
        return None
    thumbnail = above[2] / "thumbnails" / f"{features.stem}.jpg"
    if not thumbnail.is_file():
        return None
    with open_bag(features) as bag:
        width = bag.attributes.get("level0_width")
    pixels = cv2.imread(str(thumbnail))
    if width is None or pixels is None:
        return None
    rgb = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    return Picture(rgb, float(width) / rgb.shape[1])
