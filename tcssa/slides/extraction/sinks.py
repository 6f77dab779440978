"""Where the features of a slide go as they are made.

A sink takes slides one after another or several at once; each of them through a `PatchSink`, which
is given its patches batch by batch. `tcssa.slides.extraction.feature_files` keeps the features;
`tcssa_runtimes.archive.slot_sink` compresses them into slots on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Takes the patches of one slide. Nothing of it is to be seen before `finish`."""

    def append(self, features: NDArray[Any], coords: NDArray[np.int64]) -> None:
        """Take features ``[b, d]``, in the type they are stored in, and level-0 corners ``[b, 2]``.

        Raises:
            TcssaError: They cannot be taken; the slide fails.
        """

    def fail(self, coords: NDArray[np.int64]) -> None:
        """Take note of the level-0 corners ``[b, 2]`` of patches that could not be read."""

    def finish(self) -> None:
        """All patches are in: write, durably, under the slide's name.

        Raises:
            DiskFullError: There is no space left.
        """

    def discard(self) -> None:
        """The slide failed: leave nothing behind."""


class SlideSink(Protocol):
    """Takes slides."""

    def finished(self, slide: SlideFile, params: Params) -> SlideResult | None:
        """What an earlier run made of a slide; None if it is still to be done.

        Raises:
            UsageError: What is there was made with other parameters.
        """

    def check(self, spec: EncoderSpec, encoder: Encoder) -> None:
        """See that the encoder's features can be taken at all.

        Raises:
            TcssaError: They cannot.
        """

    def begin(self, plan: SlidePlan, encoder: Encoder) -> PatchSink:
        """Make ready for a slide.

        Raises:
            DiskFullError: There is no space left.
        """


def finished_by_all(
    slide: SlideFile, sinks: Sequence[SlideSink], params: Params
) -> SlideResult | None:
    """What an earlier run made of a slide, None if any of the sinks still wants it.

    Raises:
        UsageError: What is there was made with other parameters.
    """
    results = [sink.finished(slide, params) for sink in sinks]
    return results[0] if all(results) else None
