"""Options of `extract` beside its settings: who works, what is kept, who watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tcssa.crew.dispatcher import Crew
from tcssa.jobs.watch import Watch
from tcssa.slides.extraction.sinks import SlideSink
from tcssa.slides.settings import ExtractSettings

OpenSinks = Callable[[ExtractSettings], AbstractContextManager[Sequence[SlideSink]]]
"""Opens sinks in a worker, with the settings that hold there; it is sent there, so it pickles."""


@dataclass(frozen=True)
class ExtractWorkers:
    """Workers that share the slides of an extraction."""

    crew: Crew
    open_sinks: OpenSinks | None = None
    """Opens the further sinks in each worker; wanted where there are any."""


@dataclass(frozen=True)
class ExtractOptions:
    """Options of `tcssa.slides.extraction.extraction.extract`."""

    keep_features: bool = True
    """Whether to write the features."""
    more_sinks: Sequence[SlideSink] = ()
    """Further sinks of the features, such as a compressor that makes slots of them."""
    workers: ExtractWorkers | None = None
    """Workers that share the slides; None works in this process alone."""
    watch: Watch = field(default_factory=Watch)
    """Told of each slide that ends, for programs outside."""
