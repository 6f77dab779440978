"""Sinks that take the features of slides as they are made.

A sink takes slides one after another or several at once, each through a `PatchSink`, which is given
the slide's patches batch by batch. `tcssa.slides.extraction.feature_files` keeps the features;
`tcssa_runtimes.archive.slot_sink` compresses them into slots on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tcssa.encoders.base import Encoder, EncoderSpec
    from tcssa.slides.extraction.plan import SlidePlan
    from tcssa.slides.extraction.report import SlideResult
    from tcssa.slides.extraction.resume import Params
    from tcssa.slides.manifest import SlideFile


class PatchSink(Protocol):
    """Sink of the patches of one slide; nothing of it is visible before `finish`."""

    def append(self, features: NDArray[Any], coords: NDArray[np.int64]) -> None:
        """Take the features of a batch of patches.

        Args:
            features: Features ``[b, d]``, in the type they are stored in.
            coords: Level-0 corners (x, y) of the patches, ``[b, 2]``.

        Raises:
            TcssaError: The features cannot be taken; the slide fails.
        """

    def fail(self, coords: NDArray[np.int64]) -> None:
        """Note the level-0 corners (x, y), ``[b, 2]``, of patches that could not be read."""

    def finish(self) -> None:
        """Write the slide durably under its name, now that all patches are in.

        Raises:
            DiskFullError: There is no space left.
        """

    def discard(self) -> None:
        """Leave nothing behind of a slide that failed."""


class SlideSink(Protocol):
    """Sink of the features of slides."""

    @property
    def folder(self) -> Path:
        """Folder of the files ``S.h5`` that it writes."""

    def finished(self, slide: SlideFile, params: Params) -> SlideResult | None:
        """Return the result of an earlier run, None if the slide is still to be done.

        Args:
            slide: The slide.
            params: The parameters of this run, as `tcssa.slides.extraction.resume.params_of`
                returns them.

        Raises:
            UsageError: The slide was finished with other parameters.
        """

    def check(self, spec: EncoderSpec, encoder: Encoder) -> None:
        """Check that the encoder's features can be taken at all.

        Args:
            spec: Specification of the encoder.
            encoder: The loaded encoder.

        Raises:
            TcssaError: The features cannot be taken.
        """

    def begin(self, plan: SlidePlan, encoder: Encoder) -> PatchSink:
        """Open a sink for the patches of a slide.

        Args:
            plan: Plan of the slide.
            encoder: The loaded encoder.

        Raises:
            DiskFullError: There is no space left.
        """


def finished_by_all(
    slide: SlideFile, sinks: Sequence[SlideSink], params: Params
) -> SlideResult | None:
    """Return the result of an earlier run, None if any of the sinks still needs the slide.

    Args:
        slide: The slide.
        sinks: The sinks, at least one.
        params: The parameters of this run.

    Raises:
        UsageError: The slide was finished with other parameters.
    """
    results = [sink.finished(slide, params) for sink in sinks]
    return results[0] if all(results) else None
