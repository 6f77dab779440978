"""Feature files: one HDF5 file per slide, which is there once the slide is done."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.encoders.base import Encoder, EncoderSpec
from tcssa.features.writer import CHUNK_ROWS, Attribute, writing_features
from tcssa.files.checksums import params_hash
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.plan import SlidePlan
from tcssa.slides.extraction.report import SlideResult
from tcssa.slides.extraction.resume import Params, finished
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings


class FeatureFiles:
    """See `tcssa.slides.extraction.sinks.SlideSink`.

    Args:
        layout: Layout of the job that the files go to.
        settings: Settings of the extraction.
    """

    def __init__(self, layout: JobLayout, settings: ExtractSettings) -> None:
        self._layout, self._settings = layout, settings
        self.folder = layout.features

    def finished(self, slide: SlideFile, params: Params) -> SlideResult | None:
        """See `SlideSink.finished`."""
        return finished(slide, self._layout, params)

    def check(self, spec: EncoderSpec, encoder: Encoder) -> None:
        """See `SlideSink.check`; features of any encoder can be kept."""

    def begin(self, plan: SlidePlan, encoder: Encoder) -> FeatureFile:
        """See `SlideSink.begin`; the slide's file is opened under its temporary name."""
        return FeatureFile(self._layout, plan, encoder, self._settings.dtype)


class FeatureFile:
    """See `tcssa.slides.extraction.sinks.PatchSink`."""

    def __init__(self, layout: JobLayout, plan: SlidePlan, encoder: Encoder, dtype: str) -> None:
        self._stack = ExitStack()
        self._waiting: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
        header = plan.header(layout, encoder.name, _attributes(plan.params, encoder))
        self._writer = self._stack.enter_context(
            writing_features(
                layout.features_file(plan.slide.slide_id),
                header,
                num_expected=len(plan.corners),
                feature_dim=encoder.feature_dim,
                dtype=dtype,
            )
        )

    def append(self, features: NDArray[Any], coords: NDArray[np.int64]) -> None:
        """See `PatchSink.append`; features are written a chunk of the file at a time."""
        self._waiting.append((features, coords))
        if sum(len(rows) for _, rows in self._waiting) >= CHUNK_ROWS:
            self._flush()

    def fail(self, coords: NDArray[np.int64]) -> None:
        """See `PatchSink.fail`."""
        self._writer.fail(coords)

    def finish(self) -> None:
        """See `PatchSink.finish`; the file is closed and given its name."""
        self._flush()
        self._stack.close()

    def discard(self) -> None:
        """See `PatchSink.discard`; the file is removed."""
        given_up = _GivenUpError()
        with suppress(_GivenUpError):  # the writer's blocks remove what they made, and raise it on
            self._stack.__exit__(type(given_up), given_up, None)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            features, coords = zip(*waiting, strict=True)
            self._writer.append(np.concatenate(features), np.concatenate(coords))


class _GivenUpError(Exception):
    """Raised into the writer of a file that is no longer wanted."""


def _attributes(params: Params, encoder: Encoder) -> dict[str, Attribute]:
    return {
        "params": json.dumps(params, sort_keys=True),
        "params_hash": params_hash(params),
        "encoder_weights": encoder.weights_hash,
        "encoder_input_px": encoder.input_px,
    }
