"""The questions of a benchmark, divided among workers by slide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tcssa.crew.member import Job
from tcssa.jobs.watch import SlideEvent
from tcssa.reporter import Reporter
from tcssa.vqa.endpoint.asked_model import load_asked
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.evaluation.slide_asking import SlideAnswers, SlideAsker, SlideQuestions
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.prompts.wording import Wording
from tcssa.vqa.settings import EvalOptions, LanguageModelOptions


@dataclass(frozen=True)
class RunPlace:
    """A run of train-vqa, as a process opens it on its own device; see `load_asked`."""

    run: Path
    llm: LanguageModelOptions
    endpoint: EndpointOptions

    def open(self, device: str) -> tuple[LoadedVqa, ServedModel | None]:
        """Load the model, or find the server that holds its language model.

        Args:
            device: Where to compute.

        Raises:
            RunError: The run is not finished, or does not fit the language model.
            LlmError: The language model is not found.
            EndpointError: A server is to answer, and does not.
        """
        return load_asked(self.run, self.llm, self.endpoint, device)


@dataclass(frozen=True)
class LostSlide:
    """A slide on which workers have died."""

    slide_id: str
    reason: str


@dataclass(frozen=True)
class AskJob(Job[SlideQuestions, SlideAnswers | LostSlide]):
    """Questions to answers."""

    place: RunPlace
    device: str
    options: EvalOptions
    wording: Wording

    def work(
        self,
        items: Iterator[SlideQuestions],
        done: Callable[[str, SlideAnswers | LostSlide], None],
        reporter: Reporter,
    ) -> None:
        """See `tcssa.crew.member.Job.work`."""
        asker = SlideAsker(*self.place.open(self.device), self.options, self.wording)
        for slide in items:
            done(slide.slide_id, asker.ask(slide))

    def lost(self, item: SlideQuestions, reason: str) -> LostSlide:
        """See `tcssa.crew.member.Job.lost`."""
        return LostSlide(item.slide_id, reason)

    def event(self, slide_id: str, row: SlideAnswers | LostSlide) -> SlideEvent:
        """See `tcssa.crew.member.Job.event`."""
        if isinstance(row, LostSlide):
            return SlideEvent(slide_id, "failed", reason=row.reason)
        return SlideEvent(slide_id, "done")
