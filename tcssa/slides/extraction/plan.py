"""Plan of what is read of a slide, made before its patches are read.

A slide is opened, its thumbnail made and its tissue found one slide ahead of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError, UsageError
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
from tcssa.slides.tissue.masks import read_mask
from tcssa.slides.tissue.segmenters import segmenter
from tcssa.slides.tissue.tissue import Tissue, find_tissue


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
    """

    slide: SlideFile
    resolution: Resolution
    dimensions: tuple[int, int]
    spec: GridSpec
    corners: NDArray[np.int64]
    params: Params

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
                **ours,
            },
        )


def plan_slide(
    slide: SlideFile, settings: ExtractSettings, layout: JobLayout, params: Params
) -> SlidePlan:
    """Find the patches of a slide, and write its pictures, outlines and corners.

    Args:
        slide: The slide, a file of this machine.
        settings: Settings of the extraction.
        layout: Layout of the job that the files go to.
        params: Everything that decides the content of the slide's features.

    Raises:
        SlideError: The slide cannot be read, or does not state its resolution.
        UsageError: The grid that was asked for is finer than the slide's pixels, or features of
            another encoder on the same grid were made of other patches.
        DiskFullError: There is no space left.
    """
    given = settings.slide_mpp if slide.mpp is None else slide.mpp
    with Slide(slide.path, settings.reader) as opened:
        resolution = opened.resolution(given)
        spec = GridSpec(settings.patch_size, settings.overlap, settings.mpp, resolution.mpp)
        thumbnail = thumbnail_of(opened, resolution.mpp)
        dimensions = opened.dimensions
    tissue = _tissue_of(slide, settings, thumbnail, resolution.mpp, dimensions)
    corners = tissue_corners(spec, dimensions, tissue, settings.min_tissue)
    plan = SlidePlan(slide, resolution, dimensions, spec, corners, params)
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


def _tissue_of(
    slide: SlideFile,
    settings: ExtractSettings,
    thumbnail: Thumbnail,
    mpp: float,
    dimensions: tuple[int, int],
) -> Tissue:
    mask = settings.mask_of(slide.slide_id)
    if mask is None:
        return find_tissue(thumbnail, mpp, segmenter(settings.tissue), keep_pen=settings.keep_pen)
    inside = read_mask(mask, thumbnail.unreadable.shape, thumbnail.scale, dimensions)
    return Tissue(inside, thumbnail.scale)


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
