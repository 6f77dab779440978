"""Settings of an extraction, each default and each help text once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tcssa.config.settings import Section
from tcssa.files.mask_label import LABEL
from tcssa.plugins import OnlyByUser, is_imported, is_own_encoder

MIN_MPP, MAX_MPP = 0.05, 20.0
"""Range of plausible resolutions of a slide's level 0, in µm per pixel."""


_STAGE_GB = 50.0

Resample = Literal["lanczos", "area"]

ENCODER_OPTION = "--encoder"
MASK_SUFFIXES = (".geojson", ".json", ".png", ".tif", ".tiff", ".jpg")


class ExtractSettings(Section):
    """Settings of the extraction of patch features from slides."""

    encoder: Annotated[str, OnlyByUser(ENCODER_OPTION, is_own_encoder)] = Field(
        default="efficientnet_lite0",
        description="Patch encoder: efficientnet_lite0 (bundled, ImageNet), "
        "efficientnet_lite0_random (a control), one that `tcssa encoders` lists, timm:<model>, "
        "open_clip:<model>/<weights>, hf:<repository>, onnx:<file>, python:<module>:<factory>.",
    )
    weights: Path | None = Field(
        default=None,
        description="File of the encoder's weights. [default: from the Hugging Face cache]",
    )
    mpp: float = Field(
        default=0.5,
        ge=MIN_MPP,
        le=MAX_MPP,
        description="Resolution of the patches, in µm per pixel; met exactly, by resizing.",
    )
    magnification: float | None = Field(
        default=None, gt=0, description="In place of --mpp: 20 means 10 / 20 = 0.5 µm per pixel."
    )
    patch_size: int = Field(
        default=224,
        ge=16,
        description="Side of a patch, in pixels at that resolution. If the encoder takes "
        "another size, patches are resized to it.",
    )
    overlap: int = Field(
        default=0,
        ge=0,
        description="Pixels that neighbouring patches share; less than --patch-size.",
    )
    stride: int | None = Field(
        default=None, ge=1, description="In place of --overlap: pixels from a patch to the next."
    )
    slide_mpp: float | None = Field(
        default=None,
        ge=MIN_MPP,
        le=MAX_MPP,
        description="Level-0 resolution of all slides, in µm per pixel, in place of what they "
        "state themselves; a manifest's own value comes before it. A slide that states another "
        "one, by over 10 %, fails: see --force-mpp and --fallback-mpp.",
    )
    fallback_mpp: float | None = Field(
        default=None,
        ge=MIN_MPP,
        le=MAX_MPP,
        description="Level-0 resolution of the slides that state none, in µm per pixel.",
    )
    force_mpp: bool = Field(
        default=False,
        description="Take --slide-mpp also for slides that state another resolution.",
    )
    trident_scale: bool = Field(
        default=False,
        description="Lay the grid as TRIDENT does: level 0 counts as 40x, 20x or another round "
        "magnification, so that TRIDENT reads the same patches; --mpp is then met roughly.",
    )
    resample: Resample = Field(
        default="area",
        description="How patches are resized: area, which is fast, and exact for whole multiples; "
        "lanczos, which keeps features of slides of different resolutions closer together.",
    )
    tissue: Annotated[str, OnlyByUser("--tissue", is_imported)] = Field(
        default="otsu",
        description="How tissue is found: otsu (colour), texture (pale or grey stains), all "
        "(every patch), or module:factory of your own.",
    )
    mask: Path | None = Field(
        default=None,
        description="Your own outlines of tissue, in place of --tissue: a folder with S.geojson "
        "(level-0 pixels) or S.png for every slide S, or the file of a single slide.",
    )
    mask_class: list[str] | None = Field(
        default=None,
        description="Class of outlines that is tissue, as QuPath names it, or label of a picture; "
        "may be given several times. By default all classes are, but those named Ignore* are "
        "holes.",
    )
    mask_background: list[str] | None = Field(
        default=None,
        description="Label that is background in pictures given with --mask, in place of 0: a "
        "number, as 255, or one for each channel, as 255,255,255; may be given several times.",
    )
    mask_origin: Literal["auto", "bounds", "slide"] = Field(
        default="auto",
        description="Corner that masks count from where only a part of the slide was scanned "
        "(MRXS, SCN): bounds, the corner of that part, as QuPath exports; slide, the corner of "
        "the whole; auto, where the mask lies on what was scanned.",
    )
    keep_pen: bool = Field(
        default=False, description="Keep pen marks and dark edges that look like tissue."
    )
    min_tissue: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Smallest share of a patch that must be tissue, from 0 to 1.",
    )
    max_failed: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of unreadable patches, from 0 to 1, above which a slide fails.",
    )
    scene: int | None = Field(
        default=None,
        ge=0,
        description="Which picture of a file that holds several (scenes, focal planes), from 0 "
        "(default: the largest, and the others are named).",
    )
    reader: str | None = Field(
        default=None,
        description="Reader of the slides: openslide, tiff, tiffslide, zarr, image, cucim or a "
        "plug-in's name. [default: chosen by the file's content]",
    )
    cache: Path | None = Field(
        default=None,
        description="Folder that keeps copies of remote slides. [default: none is kept]",
    )
    cache_size: float = Field(
        default=50.0,
        ge=0,
        description="Most that --cache keeps, in GB; the oldest copies are deleted first.",
    )
    stage: str | None = Field(
        default=None,
        description="DIR[:GB]: copy slides of a slow disk to this local folder ahead of their turn "
        "and remove them when they were read; at most so many GB at once, by default 50.",
    )
    dtype: Literal["float32", "float16"] = Field(
        default="float32", description="Number format in which features are stored."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Patches the encoder takes at a time. [default: chosen for the device]",
    )
    readers: int | None = Field(
        default=None,
        ge=1,
        description="Threads that decode patches. [default: one per core, at most 8]",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the encoder runs; auto takes a GPU if one works."
    )
    overwrite: bool = Field(default=False, description="Make features again that are done already.")

    @model_validator(mode="before")
    @classmethod
    def _by_other_names(cls, values: Any) -> Any:
        """Convert magnification and stride, which are kept as mpp and overlap."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        power, stride = values.pop("magnification", None), values.pop("stride", None)
        if power is not None:
            _require_alone(values, "mpp", "magnification")
            if not float(power) > 0:
                raise ValueError(f"magnification = {power} must be above 0")
            values["mpp"] = 10 / float(power)
        if stride is not None:
            _require_alone(values, "overlap", "stride")
            patch_size = int(values.get("patch_size", cls.model_fields["patch_size"].default))
            if not 1 <= int(stride) <= patch_size:
                raise ValueError(
                    f"stride = {stride} px must be from 1 to patch_size = {patch_size} px"
                )
            values["overlap"] = patch_size - int(stride)
        return values

    @field_validator("stage")
    @classmethod
    def _stage_is_a_folder_and_a_size(cls, stage: str | None) -> str | None:
        if stage is not None:
            place_and_size(stage)
        return stage

    @model_validator(mode="after")
    def _overlap_is_less_than_a_patch(self) -> Self:
        if self.overlap >= self.patch_size:
            raise ValueError(
                f"overlap = {self.overlap} px must be less than patch_size = {self.patch_size} px"
            )
        return self

    @model_validator(mode="after")
    def _rules_of_masks_need_a_mask(self) -> Self:
        given = {
            "mask_class": self.mask_class,
            "mask_background": self.mask_background,
            "mask_origin": self.mask_origin != "auto",
        }
        for name in given:
            if given[name] and self.mask is None:
                raise ValueError(f"{name} is about a mask: give the masks with --mask")
        for label in self.mask_background or ():
            if not LABEL.fullmatch(label):
                raise ValueError(
                    f"mask_background = {label!r} must be numbers, as 255 or 255,255,255"
                )
        return self

    def mask_of(self, slide_id: str) -> Path | None:
        """Return the file of a slide's outlined tissue, None if the tissue is to be found.

        In a folder the file has the slide's name; where there are several kinds, outlines come
        first. For a slide without one, the path that is missing is returned.
        """
        if self.mask is None or not self.mask.is_dir():
            return self.mask
        found = self.masks_of(slide_id)
        return found[0] if found else self.mask / f"{slide_id}{MASK_SUFFIXES[0]}"

    def masks_of(self, slide_id: str) -> list[Path]:
        """List the files that a folder of masks has for a slide; the first one is used."""
        if self.mask is None or not self.mask.is_dir():
            return []
        candidates = (self.mask / f"{slide_id}{suffix}" for suffix in MASK_SUFFIXES)
        return [path for path in candidates if path.is_file()]


def place_and_size(stage: str) -> tuple[Path, float]:
    """Return the folder and the size in GB of ``DIR[:GB]``.

    Raises:
        ValueError: The size is no number above 0.
    """
    folder, colon, size = stage.rpartition(":")
    if not colon or set(size) & set("/\\"):  # no size; C:\\ is a disk
        return Path(stage), _STAGE_GB
    try:
        size_gb = float(size)
    except ValueError:
        size_gb = 0.0
    if not folder or not 0 < size_gb < math.inf:
        raise ValueError(f"stage = {stage} must be a folder, or a folder:GB, as /fast:200")
    return Path(folder), size_gb


def _require_alone(values: dict[str, Any], name: str, other: str) -> None:
    if values.get(name) is not None:
        raise ValueError(f"give {name} or {other}, not both")
