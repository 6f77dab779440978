"""Plan of what is read of a slide, made before its patches are read.

A slide is opened, its thumbnail made and its tissue found one slide ahead of the encoder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, SlideError, UsageError
from tcssa.features.magnification import magnification, nominal_magnification
from tcssa.features.writer import Attribute, BagHeader, write_coords
from tcssa.files import atomic
from tcssa.files.hdf5 import hdf5_file, numbers
from tcssa.slides.extraction.grid import GridSpec, tissue_corners
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.pictures import overview_jpeg, thumbnail_jpeg
from tcssa.slides.extraction.resume import Params
from tcssa.slides.image.slide import Resolution, Slide
from tcssa.slides.image.thumbnail import Thumbnail, thumbnail_of
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings
from tcssa.slides.tissue.contours import tissue_contours, to_geojson
from tcssa.slides.tissue.ground import Ground, Mask, MaskRules
from tcssa.slides.tissue.masks import read_mask
from tcssa.slides.tissue.segmenters import everywhere, segmenter
from tcssa.slides.tissue.tissue import Tissue, find_tissue

_AGREEMENT = 0.1
"""Share by which a given resolution may differ from the slide's own."""


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """One slide, ready to be read.

    Attributes:
        slide: The slide.
        resolution: Resolution of its level 0.
        dimensions: Width and height of level 0.
        spec: The geometry of its patches.
        corners: Level-0 corners (x, y) of the patches with tissue, ``[n, 2]``.
        params: Everything that decides the content of its features, as
            `tcssa.slides.extraction.resume.params_of` returns it.
        found: Attributes that say how its mask was read; none where its tissue was found.
        remarks: What was left out, taken for granted, or could be read in another way as well.
        seconds: Time that it took to fetch the slide and to make this plan.
    """

    slide: SlideFile
    resolution: Resolution
    dimensions: tuple[int, int]
    spec: GridSpec
    corners: NDArray[np.int64]
    params: Params
    found: Mapping[str, Attribute] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    def header(self, layout: JobLayout, encoder: str, ours: Mapping[str, Attribute]) -> BagHeader:
        """Return the header of this slide's files.

        Args:
            layout: Layout of the job that the files go to.
            encoder: Name of the encoder.
            ours: Attributes beyond those of the grid and the resolution.
        """
        return BagHeader(
            name=self.slide.slide_id,
            savetodir=layout.grid,
            encoder=encoder,
            coords={
                "patch_size": self.spec.patch_size,
                "patch_size_level0": self.spec.patch_size_level0,
                "level0_magnification": nominal_magnification(self.resolution.mpp),
                "target_magnification": magnification(self.spec.mpp),
                "overlap": self.spec.overlap,
                "level0_width": self.dimensions[0],
                "level0_height": self.dimensions[1],
            },
            ours={
                "mpp_level0": self.resolution.mpp,
                "mpp_source": self.resolution.source,
                "mpp_target": self.spec.mpp,
                "mpp_effective": self.spec.mpp_effective,
                **self.found,
                **({"remarks": "; ".join(self.remarks)} if self.remarks else {}),
                **ours,
            },
        )


def plan_slide(
    slide: SlideFile,
    settings: ExtractSettings,
    layout: JobLayout,
    params: Params,
    say: Callable[[str], None] = lambda text: None,
) -> SlidePlan:
    """Find the patches of a slide, and write its pictures, outlines and corners.

    Args:
        slide: The slide, a file of this machine.
        settings: Settings of the extraction.
        layout: Layout of the job that the files go to.
        params: Everything that decides the content of the slide's features.
        say: Told how far the slide's mask is read, where that takes seconds.

    Raises:
        MaskError: The slide's mask cannot be used.
        SlideError: The slide cannot be read, or does not state its resolution.
        UsageError: The grid that was asked for is finer than the slide's pixels, or features of
            another encoder on the same grid were made of other patches.
        DiskFullError: There is no space left.
    """
    given = settings.slide_mpp if slide.mpp is None else slide.mpp
    with Slide(slide.path, settings.reader, settings.scene) as opened:
        resolution = opened.resolution(given, settings.fallback_mpp)
        remarks = (*opened.remarks, *_remarks_on(resolution))
        if slide.mpp is None and not settings.force_mpp:
            _require_agreement(slide, resolution)
        grid = settings.patch_size, settings.overlap, settings.mpp, resolution.mpp
        spec = GridSpec(*grid, trident_scale=settings.trident_scale)
        thumbnail = thumbnail_of(opened, resolution.mpp)
        ground = Ground(thumbnail, opened.dimensions, opened.bounds)
    mask = _mask_of(slide, settings, ground, say)
    tissue, min_tissue = _tissue_of(mask, settings, thumbnail, resolution.mpp)
    corners = tissue_corners(spec, ground.dimensions, tissue, min_tissue)
    remarks += _remarks(mask, thumbnail, settings.masks_of(slide.slide_id))
    plan = SlidePlan(
        slide, resolution, ground.dimensions, spec, corners, params, _attributes(mask), remarks
    )
    if not settings.overwrite:
        _require_same_patches(plan, layout)

    contours = tissue_contours(tissue)
    overview = overview_jpeg(
        thumbnail, contours, corners, spec.patch_size_level0, removed=tissue.removed
    )
    name = slide.slide_id
    atomic.write_bytes(layout.thumbnail_file(name), thumbnail_jpeg(thumbnail))
    atomic.write_bytes(layout.contours_file(name), overview)
    atomic.write_text(layout.geojson_file(name), to_geojson(contours, name))
    header = plan.header(layout, "None", {"min_tissue": settings.min_tissue})
    write_coords(layout.patches_file(name), header, corners)
    return plan


def why_empty(plan: SlidePlan, settings: ExtractSettings, layout: JobLayout) -> str:
    """Explain why a slide has no patch.

    Args:
        plan: Plan of the slide.
        settings: Settings of the extraction.
        layout: Layout of the job, where the slide's picture is.
    """
    if len(plan.spec.corners(*plan.dimensions)) == 0:
        width, height = plan.dimensions
        side = plan.spec.patch_size_level0
        return f"the slide ({width} x {height}) is smaller than one patch ({side} level-0 pixels)"
    picture = layout.contours_file(plan.slide.slide_id)
    return f"no patch holds {settings.min_tissue:.0%} of tissue, see {picture}"


def _mask_of(
    slide: SlideFile, settings: ExtractSettings, ground: Ground, say: Callable[[str], None]
) -> Mask | None:
    path = settings.mask_of(slide.slide_id)
    if path is None:
        return None
    rules = MaskRules(
        background=tuple(settings.mask_background or ()),
        classes=tuple(settings.mask_class or ()),
        origin=settings.mask_origin,
    )
    return read_mask(path, ground, rules, say)


def _differs(resolution: Resolution) -> bool:
    """Tell whether the slide states another resolution than the one that was given."""
    stated = resolution.stated
    return stated is not None and abs(resolution.mpp - stated) > _AGREEMENT * stated


def _remarks_on(resolution: Resolution) -> list[str]:
    if resolution.source == "fallback":
        return [f"it states no resolution: {resolution.mpp:g} µm per pixel are taken"]
    if _differs(resolution):
        return [
            f"it states {resolution.stated:g} µm per pixel, and is read as {resolution.mpp:g} µm"
        ]
    return []


def _require_agreement(slide: SlideFile, resolution: Resolution) -> None:
    """Require that what was given for all slides is about what this one states.

    Raises:
        SlideError: It states another resolution.
    """
    if _differs(resolution):
        raise SlideError(
            slide.path,
            f"states {resolution.stated:g} µm per pixel, and --slide-mpp says {resolution.mpp:g}",
            hint="--fallback-mpp is for slides that state none; --force-mpp takes the given one",
        )


def _tissue_of(
    mask: Mask | None, settings: ExtractSettings, thumbnail: Thumbnail, mpp: float
) -> tuple[Tissue, float]:
    """Return the tissue, and the least share of a patch that it must be."""
    if mask is not None:
        return Tissue(mask.inside, thumbnail.scale), settings.min_tissue
    segment = segmenter(settings.tissue)
    tissue = find_tissue(thumbnail, mpp, segment, keep_pen=settings.keep_pen)
    return tissue, 0.0 if segment is everywhere else settings.min_tissue


def _attributes(mask: Mask | None) -> dict[str, Attribute]:
    """Return what a feature file says about the mask that it stands on."""
    if mask is None:
        return {}
    return {
        "mask_origin": mask.origin,
        "mask_classes": json.dumps(mask.classes, ensure_ascii=False),
        "mask_remarks": json.dumps(mask.remarks, ensure_ascii=False),
    }


def _remarks(mask: Mask | None, thumbnail: Thumbnail, masks: list[Path]) -> tuple[str, ...]:
    remarks = [] if mask is None else [*mask.remarks]
    if len(masks) > 1:
        others = ", ".join(path.name for path in masks[1:])
        remarks.append(f"of its masks {masks[0].name} is taken, not {others}")
    if thumbnail.damaged_levels:
        levels = ", ".join(map(str, thumbnail.damaged_levels))
        remarks.append(f"level {levels} is damaged: tissue was looked for on finer ones there")
    return tuple(remarks)


def _require_same_patches(plan: SlidePlan, layout: JobLayout) -> None:
    """Require the patches that finished features have: encoders share a grid's file of patches."""
    name = plan.slide.slide_id
    path = layout.patches_file(name)
    users = [
        folder.name for folder in layout.grid.glob("features_*") if (folder / f"{name}.h5").exists()
    ]
    if not users or not path.exists():
        return
    try:
        with hdf5_file(path, FeatureFileError) as file:
            before = numbers(file, "coords", kinds="iu", ndim=2)[:]
    except FeatureFileError:
        return  # damaged since: it is made again
    if not np.array_equal(before, plan.corners):
        raise UsageError(
            f"{path}: {', '.join(users)} stand on other patches of the same grid",
            hint="use the --min-tissue and --slide-mpp they were made with, or another --out",
        )
