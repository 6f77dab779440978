"""Rows of tokens, made from conversations.

A row is a conversation about one slide, or several together, as tokens. Rows that cannot be learned
from are left out, counted and listed; none is cut to fit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tcssa.errors import (
    AmbiguousFeaturesError,
    DroppedRowsError,
    FeatureDimError,
    FeatureFileError,
    MissingFeaturesError,
    NothingToLearnError,
    PromptError,
    RepeatedSlideError,
    TooManyPatchesError,
)
from tcssa.features import open_bag
from tcssa.features.tables import patient_of
from tcssa.files import atomic
from tcssa.vqa.conversation import Conversation
from tcssa.vqa.data.row_slides import RowSlides, find_slides, name_of
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.model.model import SlideSpan
from tcssa.vqa.model.slot_cache import fault_of
from tcssa.vqa.model.visual_encoder import VisualEncoder
from tcssa.vqa.prompts.prompt import PromptBuilder


@dataclass(frozen=True)
class Row:
    """One conversation, ready for the model."""

    row_id: str
    source: str
    """Its place: file and row."""
    slide_id: str
    """The slide, or several with `` + `` between them."""
    case_ids: tuple[str, ...]
    """The patients, each once; more than one only where slides of several stand together."""
    parts: tuple[tuple[Path, ...], ...]
    """Feature files of the slides that the visual encoder sees as one, part by part."""
    input_ids: Tensor
    """[L], int32; the slide's tokens are placeholders."""
    labels: Tensor
    """[L], int32; -100 where nothing is to be learned."""
    num_targets: int
    features_hashes: dict[str, str]
    """By slide the hash of its number of patches and of its first one."""
    spans: tuple[SlideSpan, ...] = ()
    """The parts by name, with their patches."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The feature files of all slides."""
        return tuple(path for part in self.parts for path in part)

    @property
    def length(self) -> int:
        """Length L in tokens."""
        return len(self.input_ids)


@dataclass(frozen=True)
class Dropped:
    """A row that was left out, and why."""

    row_id: str
    source: str
    slide: str
    reason: str
    """A few words that are the same for all rows of this kind."""
    detail: str


class RowMaker:
    """Finds every conversation's slide and turns it into tokens.

    Args:
        prompts: Builds the tokens.
        slides: Finds feature files.
        visual: Says how many tokens a slide becomes, and what features it takes.
        max_length: Rows of more tokens are left out.
    """

    def __init__(
        self, prompts: PromptBuilder, slides: SlideIndex, visual: VisualEncoder, max_length: int
    ) -> None:
        self.prompts, self.slides, self.visual = prompts, slides, visual
        self.max_length = max_length
        self._looked_into: dict[Path, _Slide | FeatureFileError] = {}

    def prepare(self, conversations: Sequence[Conversation]) -> tuple[list[Row], list[Dropped]]:
        """Make rows of the conversations that can be used, and say why the others cannot.

        Raises:
            FeatureDimError: Features are not of the encoder's length.
        """
        rows: list[Row] = []
        dropped: list[Dropped] = []
        for row in conversations:
            try:
                rows.append(self._row(row))
            except _NotUsableError as reason:
                dropped.append(Dropped(row.row_id, row.source, row.slide, *reason.args))
        return rows, dropped

    def _row(self, conversation: Conversation) -> Row:
        slides = self._find(conversation.slides)
        seen = {path: self._look_into(path) for path in slides.paths}
        spans = [
            SlideSpan(name_of(part), sum(seen[path].num_patches for path in part))
            for part in slides.parts
        ]
        try:
            num_visual = slides.places([self.visual.num_tokens(each.num_patches) for each in spans])
            tokens = self.prompts.conversation_ids(conversation.turns, num_visual)
        except TooManyPatchesError as error:
            raise _NotUsableError("too many patches", str(error)) from None
        except NothingToLearnError as error:
            raise _NotUsableError("nothing to learn", str(error)) from None
        except PromptError as error:
            raise _NotUsableError("no conversation", str(error)) from None
        if len(tokens.input_ids) > self.max_length:
            detail = f"{len(tokens.input_ids)} tokens, --max-length is {self.max_length}"
            raise _NotUsableError("too long", detail)
        return Row(
            row_id=conversation.row_id,
            source=conversation.source,
            slide_id=slides.name,
            case_ids=tuple(dict.fromkeys(patient_of(path.stem) for path in slides.paths)),
            parts=slides.parts,
            input_ids=torch.tensor(tokens.input_ids, dtype=torch.int32),
            labels=torch.tensor(tokens.labels, dtype=torch.int32),
            num_targets=tokens.num_supervised,
            features_hashes={path.stem: slide.sample for path, slide in seen.items()},
            spans=tuple(spans),
        )

    def _find(self, named: Sequence[str]) -> RowSlides:
        try:
            return find_slides(named, self.slides)
        except MissingFeaturesError as error:
            raise _NotUsableError("no features", str(error)) from None
        except AmbiguousFeaturesError as error:
            raise _NotUsableError("several feature files", str(error)) from None
        except RepeatedSlideError as error:
            raise _NotUsableError("slide stands twice", str(error)) from None

    def _look_into(self, path: Path) -> _Slide:
        if path not in self._looked_into:
            self._looked_into[path] = self._opened(path)
        slide = self._looked_into[path]
        if isinstance(slide, FeatureFileError):
            raise _NotUsableError(*fault_of(slide))
        if not slide.num_patches:
            raise _NotUsableError("no patches", f"{path.name} holds no patch")
        return slide

    def _opened(self, path: Path) -> _Slide | FeatureFileError:
        try:
            with open_bag(path) as bag:
                if bag.num_patches and bag.feature_dim != self.visual.patch_dim:
                    raise FeatureDimError(path, self.visual.patch_dim, bag.feature_dim)
                digest = hashlib.sha256(f"{bag.num_patches}".encode())
                digest.update(np.ascontiguousarray(bag.read(0, 1)).tobytes())
                return _Slide(bag.num_patches, digest.hexdigest())
        except FeatureDimError:
            raise
        except FeatureFileError as fault:
            return fault


class _Slide(NamedTuple):
    """The facts read from a feature file."""

    num_patches: int
    sample: str


class _NotUsableError(Exception):
    """Raised for a row that is left out, with a kind and a detail."""


def check_dropped(rows: Sequence[Row], dropped: Sequence[Dropped], max_dropped: float) -> None:
    """Refuse to train on what is left if too much was left out.

    Args:
        rows: The rows that are left.
        dropped: The rows that were left out.
        max_dropped: Largest share of all rows that may be left out, 0 to 1.

    Raises:
        DroppedRowsError: No row is left, or more than this share was left out.
    """
    total = len(rows) + len(dropped)
    if not rows or len(dropped) > max_dropped * total:
        raise DroppedRowsError(len(dropped), total, max_dropped, describe_dropped(dropped))


def count_dropped(dropped: Sequence[Dropped]) -> dict[str, int]:
    """Count the rows that were left out for each reason."""
    return dict(Counter(row.reason for row in dropped).most_common())


def describe_dropped(dropped: Sequence[Dropped]) -> str:
    """Describe each reason by its count and its first row."""
    first = {row.reason: row for row in reversed(dropped)}
    return "; ".join(
        f"{count} × {reason} (first: {first[reason].source}: {first[reason].detail})"
        for reason, count in count_dropped(dropped).items()
    )


def write_dropped(path: Path, dropped: Sequence[Dropped]) -> None:
    """Write ``skipped.csv``, one line per row that was left out.

    Args:
        path: The file.
        dropped: The rows that were left out.
    """
    header = ["row_id", "source", "slide", "reason", "detail"]
    rows = [[row.row_id, row.source, row.slide, row.reason, row.detail] for row in dropped]
    atomic.write_csv(path, header, rows)
