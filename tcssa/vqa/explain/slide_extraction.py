"""The features of one slide, extracted on the spot."""

from __future__ import annotations

from pathlib import Path

from tcssa.encoders.registry import is_encoder_name
from tcssa.errors import SlideError, UsageError
from tcssa.reporter import Reporter
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.image.slide import slide_id_of
from tcssa.slides.manifest import SlideFile


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
        reporter: Shows progress.
        slide_mpp: The slide's level-0 resolution, if it does not state one.
        device: Where the encoder runs.

    Returns:
        The feature file.

    Raises:
        UsageError: The encoder is not given, or tcssa cannot load it.
        SlideError: The slide cannot be read, or holds no tissue.
    """
    if encoder is None:
        raise UsageError(
            "the run does not say which encoder its features were made with, so a slide cannot "
            "be encoded for it",
            hint="extract the slide with that encoder, and give --features",
        )
    if not is_encoder_name(encoder):
        raise UsageError(
            f"the run's features were made with {encoder!r}, which tcssa cannot load",
            hint="extract the slide with that encoder, and give --features",
        )
    where = "cpu" if device == "mps" else device
    settings = ExtractSettings.model_validate(
        # given for this one slide: it counts, with a warning, whatever the slide states
        {"encoder": encoder, "slide_mpp": slide_mpp, "force_mpp": True, "device": where}
    )
    file = SlideFile(slide, slide_id_of(slide))
    (result,) = extract([file], job, settings, reporter).slides
    if result.status == "failed":
        reason = result.reason or "its features cannot be extracted"
        raise SlideError(slide, reason.removeprefix(f"{slide}: "))
    if not result.num_patches:
        raise SlideError(slide, result.reason or "holds no tissue")
    return JobLayout.of(job, settings).features_file(file.slide_id)
