"""Facts about a model that its runtime needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tcssa.artefact import Artefact, PatchRange, What
from tcssa.budgets import budgets_of
from tcssa.features.extraction_record import ExtractionRecord

_HEADS: dict[What, tuple[str, ...]] = {
    "compressor": (),
    "classifier": ("logits",),
    "projector": ("tokens",),
}


@dataclass(frozen=True)
class ModelFacts:
    """Shape, limits and origin of a model, whatever file it came from."""

    path: Path
    feature_dim: int
    """Length of the patch features that the model takes."""
    slot_dim: int
    """Length of its slots: the same, unless it embeds the patches first."""
    num_slots: int
    top_k: int
    patches: PatchRange
    """Patches of a bag that the model runs on; smaller bags are padded, larger ones refused."""
    max_batch: int | None
    encoder: str | None
    """Encoder of the features that the model was trained on; None where it was not recorded."""
    sha256: str
    """Hash of the model's files, by which a result names its model."""
    chunk_patches: int | None = None
    """Rows of a chunk where the model takes bags in chunks; None where it takes them whole."""
    fixed_rows: bool = False
    """Whether a launch takes chunks of exactly `chunk_patches` rows, as engines do; shorter ones
    are padded."""
    input_dtype: str = "float32"
    """Type in which the model takes features; float16 for artefacts of half precision."""
    has_salience: bool = False
    """Whether an artefact's patches have a salience, a factor of their weights."""
    budgets: tuple[int, ...] = ()
    """Numbers of slots that a slide can be folded to; empty for a model that was not trained for it
    or takes slides whole."""
    auto_share: float = 1.0
    """Share of the variance between slots that the budget ``auto`` keeps, 0 to 1."""
    spatial: bool = False
    """Whether the model takes patch positions, in µm."""
    finish_takes_mass: bool = False
    """Whether the graph ``finish`` of a chunked pair takes the masses too."""
    members: int = 1
    """Models of an ensemble, whose slots stand side by side."""
    heads: tuple[str, ...] = ()
    """Outputs of the model beside slots: ``logits``, ``tokens``, or none."""
    classes: tuple[str, ...] | None = None
    """Names of the classes that the logits stand for."""
    projector_sha256: str | None = None
    """Hash of the file of the projector that makes tokens; None of other models."""
    extraction: ExtractionRecord = field(default_factory=ExtractionRecord)
    """How the patches of its training were made, as far as it is known."""

    @classmethod
    def of_artefact(cls, folder: Path, artefact: Artefact) -> Self:
        """Return the facts that an artefact states.

        Args:
            folder: The artefact's folder.
            artefact: Its manifest.
        """
        nests = artefact.nested and artefact.graph == "chunked"
        takes_features = artefact.models["full" if artefact.graph == "full" else "partial"]
        return cls(
            path=folder,
            feature_dim=artefact.feature_dim,
            slot_dim=artefact.slot_dim,
            num_slots=artefact.num_slots,
            top_k=artefact.top_k,
            patches=artefact.patches,
            max_batch=artefact.max_batch,
            encoder=artefact.encoder,
            sha256=artefact.sha256,
            chunk_patches=artefact.chunk_patches,
            fixed_rows=takes_features.inputs[0].shape[1] is not None,
            input_dtype=takes_features.inputs[0].dtype,
            has_salience=artefact.salience,
            budgets=tuple(budgets_of(artefact.num_slots)) if nests else (),
            auto_share=artefact.auto_share,
            spatial=artefact.spatial,
            finish_takes_mass=artefact.head_takes_mass,
            members=artefact.members,
            heads=_HEADS[artefact.what],
            classes=None if artefact.classes is None else tuple(artefact.classes),
            projector_sha256=artefact.head_sha256 if artefact.what == "projector" else None,
            extraction=artefact.extraction,
        )
