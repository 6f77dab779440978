"""The visual tokens of a benchmark's slides, made as they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    NonFiniteFeatureError,
    TooManyPatchesError,
    UsageError,
)
from tcssa.features import open_bag
from tcssa.features.feature_set_path import bag_file
from tcssa.files.checksums import params_hash
from tcssa.vqa.model.slot_cache import feature_tensor, patch_places

if TYPE_CHECKING:
    from tcssa.vqa.model.run import LoadedVqa

_KEPT = 3
"""A slide's tokens are needed for itself, and for the slide before it in the circle."""


class UnusableSlideError(Exception):
    """A slide that no question can be asked about: a status, and why."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class SlideTokens:
    """Visual tokens by slide.

    Args:
        loaded: The model.
        paths: The feature file of each slide, by the file's stem.
    """

    def __init__(self, loaded: LoadedVqa, paths: Mapping[str, Path]) -> None:
        self.loaded, self.paths = loaded, dict(paths)
        self._made: OrderedDict[str, Tensor] = OrderedDict()

    def fingerprint(self) -> str:
        """Return a hash that changes with any feature file: its name, size or time of change."""
        stats = {name: bag_file(path).stat() for name, path in sorted(self.paths.items())}
        return params_hash({name: [s.st_size, s.st_mtime_ns] for name, s in stats.items()})

    def of(self, slide: str) -> Tensor:
        """Return a slide's visual tokens [V, D].

        Raises:
            UnusableSlideError: Its file is broken, holds no patch, or more than the model shows.
            FeatureDimError: Its features are of another length than the model's.
            UsageError: Its features are of another encoder than the model's.
        """
        if slide not in self._made:
            self._made[slide] = visual_tokens(self.loaded, self.paths[slide])
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return self._made[slide]


@torch.no_grad()
def visual_tokens(loaded: LoadedVqa, path: Path) -> Tensor:
    """Make the visual tokens [V, D] of one slide from its patch features.

    Args:
        loaded: The model.
        path: The slide's feature file.

    Raises:
        UnusableSlideError: The file is broken, holds no patch, or more than the model shows.
        FeatureDimError: The features are of another length than the model's.
        UsageError: The features are of another encoder than the model's.
    """
    visual = loaded.model.visual
    try:
        with open_bag(path) as bag:
            num_patches, encoder = bag.num_patches, bag.encoder
        if num_patches == 0:
            raise UnusableSlideError("no_features", f"{path.name} holds no patch")
        require_encoder(loaded, path, encoder)
        features = feature_tensor(path, visual.feature_dim)
        coords = patch_places(path, visual)
    except FeatureDimError:
        raise
    except (FeatureFileError, NonFiniteFeatureError) as error:
        raise UnusableSlideError("bad_features", str(error)) from None
    try:
        tokens: Tensor = visual(features.to(loaded.device), path.stem, coords)[0]
    except TooManyPatchesError as error:
        raise UnusableSlideError("too_long", f"{path.name}: {error}") from None
    return tokens


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
