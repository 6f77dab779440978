"""The patches of one slide through the encoder, into its feature file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tcssa.checksums import params_hash
from tcssa.encoders.base import Encoder
from tcssa.errors import SlideError
from tcssa.features.writer import Attribute, FeatureWriter, writing_features
from tcssa.slides.layout import JobLayout
from tcssa.slides.pipeline import Part, batches
from tcssa.slides.plan import SlidePlan
from tcssa.slides.resume import Params
from tcssa.slides.settings import ExtractSettings


def encode_slide(
    plan: SlidePlan,
    slide_parts: Iterable[Part],
    encoder: Encoder,
    *,
    settings: ExtractSettings,
    layout: JobLayout,
    params: Params,
    on_progress: Callable[[int], None],
) -> FeatureWriter:
    """Encode the patches of a slide and write its feature file.

    Args:
        plan: The slide.
        slide_parts: Its patches, in order.
        encoder: The encoder.
        settings: The extraction's.
        layout: Where the file goes.
        params: What decides its content; stored in it.
        on_progress: Told the number of patches done so far.

    Returns:
        The writer, closed: it knows how many patches there are and how many failed.

    Raises:
        SlideError: More patches than allowed cannot be read.
        FeatureFileError: A feature is not finite.
        DiskFullError: There is no space left.
    """
    path = layout.features_file(plan.slide.slide_id)
    header = plan.header(layout, encoder.name, _attributes(params, encoder))
    batch_size = settings.batch_size or encoder.batch_size
    with writing_features(
        path,
        header,
        num_expected=len(plan.corners),
        feature_dim=encoder.feature_dim,
        dtype=settings.dtype,
    ) as writer:

        def on_failed(corners: NDArray[np.int64]) -> None:
            writer.fail(corners)
            _check_share(plan, writer.num_failed, settings.max_failed, corners)

        for pixels, corners in batches(slide_parts, batch_size, on_failed):
            writer.append(encoder.encode(pixels), corners)
            on_progress(writer.num_patches)
    return writer


def _attributes(params: Params, encoder: Encoder) -> dict[str, Attribute]:
    return {
        "params": json.dumps(params, sort_keys=True),
        "params_hash": params_hash(params),
        "encoder_weights": encoder.weights_hash,
        "encoder_input_px": encoder.input_px,
    }


def _check_share(plan: SlidePlan, num_failed: int, most: float, last: NDArray[np.int64]) -> None:
    if num_failed > most * len(plan.corners):
        x, y = last[-1].tolist()
        raise SlideError(
            plan.slide.path,
            f"{num_failed} of {len(plan.corners)} patches could not be read, "
            f"one of them at x = {x}, y = {y}",
            hint=f"copy the slide again, or allow more than {most:.3g} of them with --max-failed",
        )
