"""The visual tokens of a benchmark's slides, made as they are needed; of several as one, too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tcssa.compressor.aggregation import Aggregate, joined
from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    NonFiniteFeatureError,
    TooManyPatchesError,
    UsageError,
)
from tcssa.features import open_bag
from tcssa.features.feature_set_path import BagRef
from tcssa.files.checksums import params_hash
from tcssa.vqa.answering.answer_record import Status
from tcssa.vqa.data.row_slides import RowSlides, name_of
from tcssa.vqa.model.merging import require_merging
from tcssa.vqa.model.slot_cache import cache_of_run, feature_tensor, patch_places
from tcssa.vqa.model.visual_encoders import SlotVisual

if TYPE_CHECKING:
    from tcssa.vqa.model.run import LoadedVqa

_KEPT = 3
"""A slide's tokens are needed for itself, and for the slide before it in the circle."""


class UnusableSlideError(Exception):
    """A slide that no question can be asked about: a status, why, and its feature file."""

    def __init__(self, status: Status, message: str, path: Path) -> None:
        super().__init__(message)
        self.status: Status = status
        self.path = path


class SlideTokens:
    """Visual tokens by slide, taken from the slot cache of the training where it has them.

    Args:
        loaded: The model.

    Attributes:
        made: Slides whose tokens were made here; of merged slides the name of all.
        cached: Slides whose tokens came from the cache.
    """

    def __init__(self, loaded: LoadedVqa) -> None:
        self.loaded = loaded
        self.cache = cache_of_run(loaded.folder, loaded.model.visual)
        self.made: set[str] = set()
        self.cached: set[str] = set()
        self._kept: OrderedDict[tuple[tuple[Path, ...], ...], list[Tensor]] = OrderedDict()

    def of(self, slides: RowSlides) -> list[Tensor]:
        """Return the visual tokens [V, D] of a slide, or of each part of several.

        Args:
            slides: The slide, or several that are shown together.

        Raises:
            UnusableSlideError: Its file is broken, holds no patch, or more than the model shows.
            FeatureDimError: Its features are of another length than the model's.
            UsageError: Its features are of another encoder than the model's.
        """
        if slides.parts not in self._kept:
            self._kept[slides.parts] = [self._tokens(part) for part in slides.parts]
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[slides.parts]

    def _tokens(self, part: tuple[Path, ...]) -> Tensor:
        for path in part:
            with _usable(path):
                _require_patches(self.loaded, path)
        with _usable(part[0]):
            found = None if self.cache is None else self.cache.find(part)
            if found is not None:
                self.cached.add(name_of(part))
                return found.to(self.loaded.device)
        seen = see_slide(self.loaded, part[0]) if len(part) == 1 else see_merged(self.loaded, part)
        self.made.add(name_of(part))
        return seen.tokens


def features_fingerprint(paths: Mapping[str, Path]) -> str:
    """Return a hash that changes with any feature file: its name, size or time of change."""
    stats = {name: BagRef.parse(path).file.stat() for name, path in sorted(paths.items())}
    return params_hash({name: [s.st_size, s.st_mtime_ns] for name, s in stats.items()})


class SeenSlide(NamedTuple):
    """A slide as the language model is shown it."""

    tokens: Tensor
    """Visual tokens [V, D]."""
    sums: Aggregate | None
    """The sums and the routing that the slots were made of; None where the tokens are no slots."""


@torch.no_grad()
def see_slide(loaded: LoadedVqa, path: Path) -> SeenSlide:
    """Make the visual tokens of one slide from its patch features, in one run of the compressor.

    Args:
        loaded: The model.
        path: The slide's feature file.

    Raises:
        UnusableSlideError: The file is broken, holds no patch, or more than the model shows.
        FeatureDimError: The features are of another length than the model's.
        UsageError: The features are of another encoder than the model's.
    """
    visual = loaded.model.visual
    with _usable(path):
        _require_patches(loaded, path)
        features = feature_tensor(path, visual.patch_dim)
        coords = patch_places(path, visual)
    features = features.to(loaded.device)
    if isinstance(visual, SlotVisual):
        sums = visual.sum_up(features, coords)
        return SeenSlide(visual.refined(sums), sums)
    try:
        return SeenSlide(visual(features, path.stem, coords)[0], None)
    except TooManyPatchesError as error:
        raise UnusableSlideError("too_long", f"{path.name}: {error}", path) from None


@torch.no_grad()
def see_merged(loaded: LoadedVqa, paths: Sequence[Path]) -> SeenSlide:
    """Make the visual tokens that the patches of several slides make together.

    Args:
        loaded: The model.
        paths: The slides' feature files.

    Raises:
        UnusableSlideError: A file is broken, or holds no patch.
        FeatureDimError: Features are of another length than the model's.
        UsageError: Features are of another encoder than the model's, or its tokens do not add up.
    """
    visual = require_merging(loaded.model.visual)
    parts = []
    for path in paths:
        with _usable(path):
            _require_patches(loaded, path)
            features = feature_tensor(path, visual.patch_dim)
        parts.append(visual.sum_up(features.to(loaded.device), None))
    sums = joined(parts)
    return SeenSlide(visual.refined(sums), sums)


def _require_patches(loaded: LoadedVqa, path: Path) -> None:
    """Require that a feature file holds patches, and that they are of the model's encoder."""
    with open_bag(path) as bag:
        num_patches, encoder = bag.num_patches, bag.encoder
    if num_patches == 0:
        raise UnusableSlideError("no_features", f"{path.name} holds no patch", path)
    require_encoder(loaded, path, encoder)


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Turn what is wrong with one slide into an `UnusableSlideError`, but for another length D."""
    try:
        yield
    except FeatureDimError:
        raise
    except (FeatureFileError, NonFiniteFeatureError) as error:
        raise UnusableSlideError("bad_features", str(error), path) from None


def require_encoder(loaded: LoadedVqa, path: Path, encoder: str | None) -> None:
    """Refuse features of another encoder, where both sides name theirs.

    Args:
        loaded: The model, which may name the encoder of its features.
        path: The feature file, named in the error.
        encoder: Encoder of the file's features; None if the file does not name it.

    Raises:
        UsageError: Model and file name different encoders.
    """
    known = loaded.settings.encoder
    if known and encoder and known != encoder:
        raise UsageError(
            f"{path}: the run was trained on features of {known!r}, these are of {encoder!r}",
            hint=f"extract the slides with --encoder {known}",
        )
