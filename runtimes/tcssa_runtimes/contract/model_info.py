"""What a runtime must know of its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tcssa.artefact import Artefact, PatchRange, What
from tcssa.budgets import budgets_of

_HEADS: dict[What, tuple[str, ...]] = {
    "compressor": (),
    "classifier": ("logits",),
    "projector": ("tokens",),
}


@dataclass(frozen=True)
class ModelFacts:
    """A model's shape, limits and origin, whatever file it came from."""

    path: Path
    feature_dim: int
    num_slots: int
    top_k: int
    patches: PatchRange
    """Sizes that the model runs on; smaller bags are padded, larger ones refused."""
    max_batch: int | None
    encoder: str | None
    """Encoder of the features the model was trained on; None where nobody noted it."""
    sha256: str
    """Hash of the model's files: tells which model made a result."""
    chunk_patches: int | None = None
    """Rows of a chunk, where an artefact takes bags in chunks; None where they must come whole."""
    fixed_rows: bool = False
    """Whether a launch takes chunks of exactly so many rows, as engines do; shorter ones are
    padded."""
    input_dtype: str = "float32"
    """What features are handed over in; float16 for artefacts of half precision."""
    has_salience: bool = False
    """Whether patches have a factor of their weights."""
    budgets: tuple[int, ...] = ()
    """Numbers of slots that a slide may become, where sums are folded; none of a model that was not
    trained for it, or that takes slides whole."""
    auto_share: float = 1.0
    """Share of the variance between slots that an automatic budget keeps."""
    spatial: bool = False
    """Whether the model is told where patches lie, in µm."""
    finish_takes_mass: bool = False
    """Whether ``finish`` of a chunked pair is given the masses too."""
    heads: tuple[str, ...] = ()
    """What the model ends with beside slots: ``logits``, ``tokens``, or nothing."""
    classes: tuple[str, ...] | None = None
    """Of the logits."""

    @classmethod
    def of_artefact(cls, folder: Path, artefact: Artefact) -> Self:
        """The facts that an artefact states."""
        nests = artefact.nested and artefact.graph == "chunked"
        takes_features = artefact.models["full" if artefact.graph == "full" else "partial"]
        return cls(
            path=folder,
            feature_dim=artefact.feature_dim,
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
            heads=_HEADS[artefact.what],
            classes=None if artefact.classes is None else tuple(artefact.classes),
        )
