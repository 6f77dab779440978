"""The store from which training gets slides' features: memory, a pack, or the slides' own files.

Reader threads load some batches ahead of the one being processed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tcssa.compute.devices import resolve_device
from tcssa.errors import FeatureFileError
from tcssa.features import open_bag, read_features
from tcssa.mil.bags.feature_pack import FeaturePack, Rounding
from tcssa.mil.bags.feature_pack_writer import open_pack
from tcssa.mil.bags.rounding import to_half
from tcssa.mil.cohort.cohort import Cohort, CohortSlide, listed
from tcssa.mil.settings import TrainSettings
from tcssa.reporter import Reporter

BATCHES_AHEAD = 2
"""Batches that are ready or being read while one is processed; their memory is not part of the
budget."""


class BagStore:
    """Features of slides, kept in memory up to a budget.

    Slides that were read first stay in memory: every epoch asks for all slides in another order,
    so keeping one is as useful as keeping another, and none is evicted.

    Args:
        cache_bytes: Memory for features kept between epochs, in bytes. With a pack these are pages
            of its files, which processes share.
        pack: The features as float16; slides that it lacks are read from their own files.
        half: Round features to float16 where they fit, as a pack does.
        readers: Number of threads that read ahead.
        pin: Return batches in pinned memory, from which a GPU copies while it computes.
    """

    def __init__(
        self,
        cache_bytes: int,
        *,
        pack: FeaturePack | None = None,
        half: bool = False,
        readers: int = 1,
        pin: bool = False,
    ) -> None:
        self._cache_bytes = cache_bytes
        self._pack, self._half = pack, half or pack is not None
        self._readers, self._pin = readers, pin
        self.rounding: Rounding | None = None
        """Summary of what rounding changed, set by `open_store` for a pack of rounded features."""
        self._held: dict[Path, Tensor] = {}
        self._held_bytes = 0
        self._holding = threading.Lock()
        self._coords: dict[Path, Tensor] = {}

    def get(self, slide: CohortSlide) -> Tensor:
        """Return the features [N, D] of a bag in the type they are stored in; do not modify them.

        Those of a patient's slides are joined in their order.

        Raises:
            FeatureFileError: The file cannot be read.
            NonFiniteFeatureError: A feature is NaN or infinite; it names file and row.
        """
        if slide.parts:
            return torch.cat([self.get(part) for part in slide.parts])
        held = self._held.get(slide.path)
        if held is not None:
            return held
        if self._pack is not None and self._pack.holds(slide):
            features = self._pack.read(slide)
        else:
            features = torch.from_numpy(self._read_file(slide.path))
        self._hold(slide.path, features)
        return features

    def coords(self, slide: CohortSlide) -> Tensor:
        """Return the corners (x, y) of a slide's patches, [N, 2], float64; they are cached.

        They are in µm where the slide's file states their unit, else as they are stored.

        Raises:
            FeatureFileError: The file cannot be read, or has no coords.
        """
        if slide.path not in self._coords:
            with open_bag(slide.path) as bag:
                corners = bag.read_coords()
            if corners is None:
                raise FeatureFileError(slide.path, "does not say where its patches lie (coords)")
            places = corners.astype(np.float64) * (slide.um_per_coord or 1.0)
            self._coords[slide.path] = torch.from_numpy(places)
        return self._coords[slide.path]

    def batches(
        self, batches: Iterable[Sequence[CohortSlide]]
    ) -> Iterator[tuple[Sequence[CohortSlide], list[Tensor]]]:
        """Yield each batch with its features, in order, while the next batches are read."""
        ahead: deque[tuple[Sequence[CohortSlide], list[Future[Tensor]]]] = deque()
        pool = ThreadPoolExecutor(self._readers, thread_name_prefix="read-bags")
        try:
            for batch in batches:
                ahead.append((batch, [pool.submit(self._load, slide) for slide in batch]))
                if len(ahead) > BATCHES_AHEAD:
                    yield _ready(*ahead.popleft())
            while ahead:
                yield _ready(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def sample(
        self, slides: Sequence[CohortSlide], num_patches: int, rng: np.random.Generator
    ) -> tuple[Tensor, list[tuple[str, int]]]:
        """Draw an equal number of patches from every slide.

        Args:
            slides: The slides to draw from.
            num_patches: Most patches of all slides together; of each slide at least one is drawn.
            rng: Draws the patches.

        Returns:
            The features, [M, D], float32, and the slide_id and the row of each.
        """
        most = max(1, num_patches // max(1, len(slides)))
        chosen, origins = [], []
        for (slide,), (bag,) in self.batches([[slide] for slide in slides]):
            rows = np.sort(rng.permutation(len(bag))[:most])
            chosen.append(bag[torch.from_numpy(rows)].float())
            origins += [(slide.slide_id, row) for row in rows.tolist()]
        return torch.cat(chosen), origins

    def _load(self, slide: CohortSlide) -> Tensor:
        features = self.get(slide)
        return features.pin_memory() if self._pin else features

    def _read_file(self, path: Path) -> NDArray[Any]:
        features = read_features(path)
        if not self._half:
            return features
        rounded = to_half(features)
        return rounded.features if rounded.too_large_row is None else features

    def _hold(self, path: Path, features: Tensor) -> None:
        size = features.numel() * features.element_size()
        with self._holding:
            if path not in self._held and self._held_bytes + size <= self._cache_bytes:
                self._held[path] = features
                self._held_bytes += size


def _ready(
    batch: Sequence[CohortSlide], features: Sequence[Future[Tensor]]
) -> tuple[Sequence[CohortSlide], list[Tensor]]:
    return batch, [each.result() for each in features]


def rounds(train: TrainSettings, cohort: Cohort) -> bool:
    """Tell whether a training sees features that are rounded to float16, as a pack does.

    Args:
        train: Names the folder of packs, if there is one.
        cohort: The slides, with the number format of their features.
    """
    return train.feature_cache is not None and any(
        slide.stored_as != "float16" for slide in cohort.slides
    )


def open_store(train: TrainSettings, cohort: Cohort, reporter: Reporter) -> BagStore:
    """Open the features for a training, packing them first if a folder for packs is set.

    Args:
        train: Names the folder of packs, the memory budget, the readers and the device.
        cohort: The slides whose features are read.
        reporter: Told what is rounded, and whether the features exceed the memory budget.

    Raises:
        TcssaError: The pack cannot be made; see `open_pack`.
    """
    pack = None
    if train.feature_cache is not None:
        pack = open_pack(train.feature_cache, cohort, reporter)
    budget = int(train.cache_gb * 1e9)
    total = sum(_num_bytes(slide, cohort.feature_dim, pack) for slide in cohort.slides)
    if total > budget:
        reporter.note(
            f"the features take {total / 1e9:.2f} GB: as much as --cache-gb {train.cache_gb:g} "
            "allows stays in memory, the rest is read again in every epoch"
        )
    pin = resolve_device(train.device).type == "cuda"
    store = BagStore(budget, pack=pack, readers=train.readers, pin=pin)
    if pack is not None and rounds(train, cohort):
        store.rounding = pack.rounding()
        _tell_rounding(store.rounding, pack, reporter)
    return store


def _tell_rounding(rounding: Rounding, pack: FeaturePack, reporter: Reporter) -> None:
    reporter.note(
        f"features are rounded to float16 in {pack.folder}: no value changed by more than "
        f"{rounding.largest_change:.1e}"
    )
    if rounding.left_as_they_are:
        reporter.warn(
            f"{len(rounding.left_as_they_are)} slides do not fit float16 and are read from their "
            f"own files, as they are: {listed(rounding.left_as_they_are)}"
        )


def _num_bytes(slide: CohortSlide, feature_dim: int, pack: FeaturePack | None) -> int:
    dtype = "float16" if pack is not None and pack.holds(slide) else slide.stored_as
    return slide.num_patches * feature_dim * np.dtype(dtype).itemsize
