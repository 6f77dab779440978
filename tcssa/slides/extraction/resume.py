"""Slides that an earlier run finished, and the parameters that it was given.

A feature file has its name only once it is whole, so its presence is the record. It carries the
parameters that decided its content; how it was computed (batch, threads, device) is not among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tcssa.encoders.base import EncoderSpec
from tcssa.errors import FeatureFileError, UsageError
from tcssa.features.opening import open_bag
from tcssa.files.boundary import reading
from tcssa.files.checksums import fingerprint, params_hash
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.report import SlideResult
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings

Params = Mapping[str, object]
_MAKE_AGAIN = "give --overwrite to make it again, or another --out"
_ANOTHER_RESOLUTION = (
    "give the resolution they were made with, or another --out; where only some slides lack one, "
    "use --fallback-mpp or a column mpp in a --manifest"
)


def params_of(slide: SlideFile, settings: ExtractSettings, encoder: EncoderSpec) -> Params:
    """Return everything that decides the content of a slide's features.

    Args:
        slide: The slide.
        settings: Settings of the extraction.
        encoder: The encoder, not loaded.
    """
    return {
        **slide.identity(),
        "encoder": encoder.name,
        "encoder_weights": encoder.weights_hash,
        "mpp": settings.mpp,
        "patch_size": settings.patch_size,
        "overlap": settings.overlap,
        "resample": settings.resample,
        "tissue": settings.tissue,
        "keep_pen": settings.keep_pen,
        "mask": fingerprint(mask) if (mask := settings.mask_of(slide.slide_id)) else None,
        "min_tissue": settings.min_tissue,
        "slide_mpp": settings.slide_mpp if slide.mpp is None else slide.mpp,
        "dtype": settings.dtype,
        # only where it is forced, so that files made before there was a choice still count
        **({} if settings.reader is None else {"reader": settings.reader}),
        **({"mask_class": sorted(settings.mask_class)} if settings.mask_class else {}),
        **({"mask_background": settings.mask_background} if settings.mask_background else {}),
        **({} if settings.mask_origin == "auto" else {"mask_origin": settings.mask_origin}),
        **({} if settings.scene is None else {"scene": settings.scene}),
        **({"trident_scale": True} if settings.trident_scale else {}),
    }


def finished(slide: SlideFile, layout: JobLayout, params: Params) -> SlideResult | None:
    """Return the result of an earlier run, None if the slide is still to be done.

    Args:
        slide: The slide.
        layout: Layout of the job.
        params: The parameters of this run, as `params_of` returns them.

    Raises:
        UsageError: The slide's features were made with other parameters, or by another tool.
    """
    path = layout.features_file(slide.slide_id)
    if not path.exists():
        return None
    try:
        with open_bag(path) as bag:
            attributes, num_patches = bag.attributes, bag.num_patches
    except FeatureFileError:
        return None  # damaged since: it is made again
    if attributes.get("params_hash") != params_hash(params):
        raise _refusal(path, attributes.get("params"), params)
    with reading(path, FeatureFileError):
        return SlideResult(
            slide.slide_id,
            slide.path,
            "skipped",
            num_patches=num_patches,
            num_failed=int(attributes.get("n_failed", 0)),
            mpp=float(attributes["mpp_level0"]),
            mpp_source=str(attributes.get("mpp_source")),
        )


def require_same_fallback(before: SlideResult, fallback_mpp: float | None) -> None:
    """Require that a finished slide without a resolution was given the one that is given now.

    Args:
        before: Result of the earlier run.
        fallback_mpp: What this run gives, None if nothing.

    Raises:
        UsageError: It was given another one.
    """
    if before.mpp_source == "fallback" and fallback_mpp not in (None, before.mpp):
        raise UsageError(
            f"{before.slide_id}: made with --fallback-mpp {before.mpp:g} (now {fallback_mpp:g})",
            hint=_ANOTHER_RESOLUTION,
        )


def _refusal(path: Path, stored: object, params: Params) -> UsageError:
    """Return the error of features that were made otherwise, which names what differs."""
    try:
        before = json.loads(str(stored))
        changed = {
            name: f"{name} = {before.get(name)} (now {params.get(name)})"
            for name in dict.fromkeys([*params, *before.keys()])
            if before.get(name) != params.get(name)
        }
    except (ValueError, AttributeError):
        reason, changed = "were not made by tcssa extract", {}
    else:
        reason = f"were made with {', '.join(changed.values()) or 'other parameters'}"
    # a wrong resolution that is written over good features would not be seen again
    hint = _ANOTHER_RESOLUTION if "slide_mpp" in changed else _MAKE_AGAIN
    return UsageError(f"{path}: these features {reason}", hint=hint)
