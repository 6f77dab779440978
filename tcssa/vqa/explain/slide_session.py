"""A slide, or several, ready for questions: answers, and the slots they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from tcssa.errors import UsageError
from tcssa.slides.image.small_picture import Picture
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.answering.streaming import Sampler
from tcssa.vqa.conversation import LETTERS, MAX_OPTIONS, Turn
from tcssa.vqa.endpoint.asked_model import ways_of
from tcssa.vqa.endpoint.served_methods import served_log_likelihoods
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.explain.ask_settings import SlidesTogether
from tcssa.vqa.explain.attribution import Weigh, ablation_effects, log_likelihoods
from tcssa.vqa.explain.shown_slides import show_slides, show_tokens
from tcssa.vqa.explain.slot_picture import picture_slots
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.prompts.wording import OWN, Wording

MAX_ABLATED = 256
"""Most visual tokens that are blanked one by one, as each costs a pass."""
_MOST_DRAWN = 5
_UNFINISHED = "\ufffd"
"""Stands at the end of a text whose last character has more tokens to come."""


@dataclass(frozen=True)
class Slot:
    """One visual token, and its effect on the answer."""

    slot: int
    slide: str
    """The slide that it is a token of; of merged slides all names."""
    effect: float
    """Fall of the answer's log-likelihood without the token, in nats; positive if the token speaks
    for the answer."""
    mass: float | None
    """Sum of its patches' routing weights; None where the tokens are no slots."""
    num_patches: int | None
    """Patches whose first slot it is."""
    center: tuple[float, float] | None
    """Weighted mean centre of its patches, level-0 pixels."""


@dataclass(frozen=True)
class Answer:
    """A model's answer to a question about a slide."""

    slide: str
    """Its name; of several slides all names, with `` + `` between them."""
    several: SlidesTogether | None
    """How several slides came together; None of one."""
    question: str
    options: tuple[str, ...]
    text: str
    """The written answer, or the option that was chosen."""
    predicted: int | None
    """The option chosen, from 0."""
    probabilities: tuple[float, ...] | None
    """Probability of each option, given that one of the letters is answered."""
    option_mass: float | None
    """The share of all next tokens' probability that the letters have together."""
    log_likelihood: float | None
    """Log-likelihood of the answer, in nats; of a letter among the letters. None if nothing was
    written."""
    slots: list[Slot]
    """The visual tokens, by the size of their effect; empty where there are too many."""


class SlideOracle:
    """A slide, or several at once, ready for questions about it.

    Args:
        loaded: The model.
        path: The slide's patch features, or those of several slides in their order.
        batch_size: Prompts read at a time.
        max_new_tokens: Most tokens of a written answer; a longer one is cut.
        served: The language model, where a server holds it.
        tokens: The slide's visual tokens, where they are made already; ``path`` is then their file,
            and nothing tells where they lie.
        several: How several slides become one input: ``merge`` makes one set of slots of all their
            patches, ``concat`` puts the tokens of one behind those of the other, and ``error``
            refuses them.
        wording: How questions and options are written.

    Raises:
        FeatureFileError: The features cannot be read, or there are none.
        FeatureDimError: The features are of another length than the model's.
        UsageError: The features are of another encoder than the model's, or several slides cannot
            be put together.
    """

    def __init__(
        self,
        loaded: LoadedVqa,
        path: Path | Sequence[Path],
        *,
        batch_size: int = 16,
        max_new_tokens: int = 64,
        served: ServedModel | None = None,
        tokens: Tensor | None = None,
        several: SlidesTogether = "error",
        wording: Wording = OWN,
    ) -> None:
        paths = [path] if isinstance(path, Path) else list(path)
        self.loaded, self.path, self.batch_size = loaded, paths[0], batch_size
        if tokens is None:
            self.shown = show_slides(loaded, paths, several)
        else:
            self.shown = show_tokens(self.path, tokens)
        self.visual, self.places, self.coords = (
            self.shown.visual, self.shown.places, self.shown.coords,
        )  # fmt: skip
        ways = ways_of(loaded, served, batch_size, max_new_tokens)
        self.writer, self.likelihood = ways.writer, ways.letters
        self.asker = Asker(
            loaded.prompts, self.likelihood, self.writer, ways.context, wording=wording
        )
        self.weigh: Weigh = log_likelihoods
        if served is not None:
            self.weigh = partial(served_log_likelihoods, served)

    def ask(self, question: str, options: Sequence[str] = (), *, explain: bool = True) -> Answer:
        """Answer a question.

        Args:
            question: The question, in plain words.
            options: The options to choose from; without any the answer is written.
            explain: Find out which slots the answer rests on.

        Raises:
            UsageError: The question is empty or too long, or there are too few or many options.
        """
        check_question(question, options)
        prepared = self.asker.prepare(question, options, len(self.visual))
        if prepared.length > self.asker.context:
            raise UsageError(
                f"question and slide take {prepared.length} tokens with the answer, the model "
                f"reads {self.asker.context}",
                hint="ask a shorter question",
            )
        prompt = prepared.prompt(self.visual)
        if options:
            return self._chosen(prompt, question, options, explain)
        return self._written(prompt, question, explain)

    def _chosen(
        self, prompt: Prompt, question: str, options: Sequence[str], explain: bool
    ) -> Answer:
        (reply,) = self.likelihood.reply([prompt], [options])
        assert reply.predicted is not None
        assert reply.log_probs is not None
        letters = self.likelihood.letters[: len(options)]
        answer = [letters[reply.predicted]]
        return Answer(
            slide=self.shown.name,
            several=self.shown.several,
            question=question,
            options=tuple(options),
            text=f"{LETTERS[reply.predicted]}. {options[reply.predicted]}",
            predicted=reply.predicted,
            probabilities=tuple(math.exp(value) for value in reply.log_probs),
            option_mass=reply.option_mass,
            log_likelihood=reply.log_probs[reply.predicted],
            slots=self._slots(prompt, answer, letters) if explain else [],
        )

    def _written(self, prompt: Prompt, question: str, explain: bool) -> Answer:
        (tokens,) = self.writer.tokens([prompt])
        return self._weighed(prompt, question, tokens, explain)

    def converse(
        self,
        turns: Sequence[Turn],
        question: str,
        sampler: Sampler,
        write: Callable[[str], None],
        explain: bool = True,
    ) -> Answer:
        """Answer the last turn of a conversation, and show the answer as it is written.

        Args:
            turns: The conversation, the user's turn last.
            question: The user's words in it.
            sampler: Chooses the tokens.
            write: Given the text piece by piece.
            explain: Find out which slots the answer rests on.

        Raises:
            UsageError: The conversation is too long.
        """
        ids = self.loaded.prompts.prompt_ids(turns, len(self.visual))
        room = self.writer.max_new_tokens
        if len(ids) + room > self.asker.context:
            raise UsageError(
                f"the conversation takes {len(ids) + room} tokens with the answer, the model reads "
                f"{self.asker.context}",
                hint="begin a new conversation",
            )
        prompt = Prompt(ids, self.visual)
        tokens: list[int] = []
        shown = ""
        for token in self.writer.stream(prompt, sampler):
            tokens.append(token)
            text = self.writer.decode(tokens)
            if not text.endswith(_UNFINISHED):
                write(text[len(shown) :])
                shown = text
        answer = self._weighed(prompt, question, tokens, explain)
        write(answer.text[len(shown) :])
        return answer

    def _weighed(
        self, prompt: Prompt, question: str, tokens: Sequence[int], explain: bool
    ) -> Answer:
        """Weigh an answer that was written, and the part that each slot has in it."""
        weighed = None
        if tokens:
            weighed = float(self.weigh(self.loaded.model, [prompt], tokens, None, 1)[0])
        return Answer(
            slide=self.shown.name,
            several=self.shown.several,
            question=question,
            options=(),
            text=self.writer.decode(tokens),
            predicted=None,
            probabilities=None,
            option_mass=None,
            log_likelihood=weighed,
            slots=self._slots(prompt, tokens, None) if explain and tokens else [],
        )

    def _slots(
        self, prompt: Prompt, answer: Sequence[int], among: Sequence[int] | None
    ) -> list[Slot]:
        if len(self.visual) > MAX_ABLATED:
            return []
        model, places = self.loaded.model, self.places
        effects = ablation_effects(
            model, prompt, answer, among, self.batch_size, self.weigh
        ).tolist()
        slots = [
            Slot(
                slot,
                self.shown.slides[slot],
                effect,
                None if places is None else places.mass[slot],
                None if places is None else places.num_patches[slot],
                None if places is None else places.centers[slot],
            )
            for slot, effect in enumerate(effects)
        ]
        return sorted(slots, key=lambda slot: -abs(slot.effect))

    def draw(self, answer: Answer, path: Path, picture: Picture | None = None) -> bool:
        """Draw the slots with the largest effects on the slide.

        Args:
            answer: What `ask` returned.
            path: The PNG to write.
            picture: The slide in small; None draws the grid of its patches.

        Returns:
            True if anything was drawn: slots without coordinates have no place, and those of
            several slides no picture that they are all in.
        """
        patch_size = self.shown.patch_size
        if self.places is None or self.coords is None or not patch_size or not answer.slots:
            return False
        labels = {
            slot.slot: f"{slot.slot}: effect {slot.effect:+.3f}, {slot.num_patches} patches"
            for slot in answer.slots
            if slot.num_patches
        }
        shown = dict(list(labels.items())[:_MOST_DRAWN])
        title = f"{answer.slide}: {answer.text}"
        picture_slots(
            path,
            picture,
            self.coords,
            patch_size,
            self.places.first_slot,
            title=title if len(title) <= 70 else title[:69] + "…",
            labels=shown,
        )
        return True


def check_question(question: str, options: Sequence[str]) -> None:
    """Refuse a question that cannot be asked.

    Args:
        question: The question, in plain words.
        options: Its options; none for an open question.

    Raises:
        UsageError: The question is empty, or there is one option, more than 26, or an empty one.
    """
    if not question.strip():
        raise UsageError("the question is empty", hint='ask something: tcssa ask RUN … "What …?"')
    if options and not 2 <= len(options) <= MAX_OPTIONS:
        raise UsageError(f"2 to {MAX_OPTIONS} options can be given, not {len(options)}")
    if any(not option.strip() for option in options):
        raise UsageError("an option is empty")
