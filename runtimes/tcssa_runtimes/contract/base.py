"""The contract of every runtime.

A runtime is a context manager: it allocates on entering, frees on leaving, and checks its input
before it runs. Backends for artefacts derive from `tcssa_runtimes.backends.artefact_runtime`; what
another one implements is said in `tcssa_runtimes.contract.model_runner`.

Shapes: B bags, N patches, D features. Arrays are NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ShapeError
from tcssa_runtimes.contract.checks import check_batch
from tcssa_runtimes.contract.model_runner import ModelRunner
from tcssa_runtimes.contract.outputs import EncodedSlide, RuntimeOutput
from tcssa_runtimes.contract.padding import batch_places, checked_features, pad
from tcssa_runtimes.contract.slide_accumulator import SlideAccumulator


class Runtime(ModelRunner):
    """Runs one model on one device: padded batches, whole bags, and slides of any size."""

    def run(
        self,
        features: NDArray[Any],
        lengths: NDArray[Any],
        coords: NDArray[Any] | None = None,
    ) -> RuntimeOutput:
        """Compress a padded batch of bags.

        Args:
            features: Patch features [B, N, D], of any floating type. Rows beyond a bag's length
                are ignored.
            lengths: Patches of each bag, [B], integers from 0 to N.
            coords: Patch positions (x, y) in µm, [B, N, 2]; needed by a model with places, ignored
                by others.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords are needed and missing,
                or half precision overflowed.
            NonFiniteFeatureError: A real patch has a NaN or an infinity; the error names its bag
                and row.
        """
        self._require_open()
        lengths = check_batch(self.facts, features, lengths)
        num_patches = features.shape[1]
        padded = checked_features(self.facts, features, lengths)
        places = batch_places(self.facts, coords, num_patches, padded.shape[:2], lengths)
        output = self._run(padded, lengths, places)
        self.require_finite(output.slots)
        return replace(
            output,
            assignments=output.assignments[:, :num_patches],
            weights=output.weights[:, :num_patches],
            salience=None if output.salience is None else output.salience[:, :num_patches],
        )

    def compress(
        self, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None = None
    ) -> list[RuntimeOutput]:
        """Compress whole bags of any sizes, each padded to the largest of its launch.

        Args:
            bags: Patch features of each bag, [N, D], of any floating type.
            coords: Patch positions of each bag, [N, 2] in µm; see `run`.

        Returns:
            The slots and the routing of each bag, in the order of the bags.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords are needed and missing,
                or half precision overflowed.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its bag within
                the launch, and its row.
        """
        encoded: list[RuntimeOutput] = []
        most = self.facts.max_batch or max(1, len(bags))
        for begin in range(0, len(bags), most):
            launch = slice(begin, begin + most)
            padded = pad(self.facts, bags[launch], None if coords is None else coords[launch])
            output = self.run(*padded)
            encoded += map(output.of_bag, range(len(padded.lengths)), padded.lengths)
        return encoded

    def encode(
        self,
        features: NDArray[Any] | Iterable[NDArray[Any]],
        coords: NDArray[Any] | None = None,
        mpp: float | None = None,
    ) -> EncodedSlide:
        """Compress one slide.

        Args:
            features: Patch features [N, D], of any floating type, or chunks of them, which are
                taken one after another.
            coords: Positions of the patches, [N, 2], in any unit; corners or centres, and the
                slots' centroids and spread are of the same.
            mpp: Microns per unit of the coords; needed by a model with places.

        Raises:
            ShapeError: Shapes, types or sizes do not fit the model, coords or mpp are needed and
                missing, or half precision overflowed.
            NonFiniteFeatureError: A patch has a NaN or an infinity; the error names its row,
                counted over all chunks.
        """
        self._require_open()
        if coords is not None and (coords.ndim != 2 or coords.shape[1] != 2):
            raise ShapeError(f"coords must be [N, 2], got {list(coords.shape)}")
        chunks = [features] if isinstance(features, np.ndarray) else features
        with SlideAccumulator(self, has_coords=coords is not None, mpp=mpp) as slide:
            for chunk in chunks:
                rows = slice(slide.num_patches, slide.num_patches + len(chunk))
                slide.add(chunk, None if coords is None else coords[rows].astype(np.float64))
            if coords is not None and len(coords) != slide.num_patches:
                raise ShapeError(
                    f"coords must be [{slide.num_patches}, 2], got {list(coords.shape)}"
                )
            return slide.finish()
