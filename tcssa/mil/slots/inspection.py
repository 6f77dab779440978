"""The result of an inspection."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tcssa.mil.results.history import Epoch
from tcssa.mil.slots.ablation import SlotAblation
from tcssa.mil.slots.association import FoldAssociations
from tcssa.mil.slots.embedding import Embedding
from tcssa.mil.slots.exemplars import Exemplar
from tcssa.mil.slots.meaning import SlotMeaning, SlotStability
from tcssa.mil.slots.routed import RoutedSlide
from tcssa.mil.slots.utilisation import SlotsInUse, TokenCosine


@dataclass
class SlotInspection:
    """Findings of an inspection, fold by fold, and the files that it wrote."""

    run: Path
    folder: Path
    classes: list[str]
    pool: str
    num_slots: int
    top_k: int
    has_labels: bool = True
    """False of slides that are not the run's own: what the model predicts stands for the label."""
    epochs: dict[int, list[Epoch]] = field(default_factory=dict)
    slides: list[RoutedSlide] = field(default_factory=list)
    use: list[SlotsInUse] = field(default_factory=list)
    cosine: list[TokenCosine] = field(default_factory=list)
    association: list[FoldAssociations] = field(default_factory=list)
    patch_labels: list[str] = field(default_factory=list)
    """Names of the patch labels; empty where none were given."""
    meaning: list[SlotMeaning] = field(default_factory=list)
    stability: list[SlotStability] = field(default_factory=list)
    """Agreement of every two folds, or of each fold with the same fold of another run."""
    silhouettes: dict[int, float | None] = field(default_factory=dict)
    """Mean silhouette of the first slots of test patches, by fold."""
    ablation: list[list[SlotAblation]] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)
    embedding: Embedding | None = None
    maps: list[Path] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)

    @property
    def agreement(self) -> float | None:
        """Mean share of patches on which two models agree, slots matched; None without a pair."""
        pairs = [pair.agreement for pair in self.stability]
        return sum(pairs) / len(pairs) if pairs else None

    @property
    def page(self) -> Path:
        """The page to look at."""
        return self.folder / "slots.html"
