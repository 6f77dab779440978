"""The methods of answering, put to a server: the same prompts, tokens and replies as here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.likelihood import Likelihood
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.answering.reply import Reply, likeliest, require_options
from tcssa.vqa.answering.streaming import Sampler
from tcssa.vqa.answering.text_likelihood import TextLikelihood
from tcssa.vqa.endpoint.served_model import ServedModel

if TYPE_CHECKING:
    from tcssa.vqa.model.model import SlideLanguageModel
    from tcssa.vqa.prompts.prompt import PromptBuilder


@torch.no_grad()
def embedded(model: SlideLanguageModel, prompt: Prompt, answer: Sequence[int] = ()) -> Tensor:
    """Embed a prompt, with the slide's tokens in place, and an answer behind it, [T, H].

    Args:
        model: The model, of which its embeddings are enough.
        prompt: The prompt.
        answer: Token ids of the answer.
    """
    ids = torch.tensor([[*prompt.ids, *answer]], device=prompt.visual.device)
    return model.embed(ids, [prompt.visual])[0]


class ServedLikelihood(Likelihood):
    """See `Likelihood`; the letters' probabilities are a server's.

    Args:
        served: The language model.
        model: Its embeddings and all before them.
        prompts: Its prompt builder.
        batch_size: Prompts asked about at a time.
    """

    def __init__(
        self,
        served: ServedModel,
        model: SlideLanguageModel,
        prompts: PromptBuilder,
        batch_size: int = 16,
    ) -> None:
        super().__init__(model, prompts, batch_size)
        self.served = served

    def reply(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Reply]:
        """See `Likelihood.reply`.

        Raises:
            TcssaError: A question has fewer than 2 or more than 26 options.
        """
        require_options(options)

        def ask(row: tuple[Prompt, int]) -> Reply:
            prompt, num_options = row
            letters = self.letters[:num_options]
            return likeliest(self.served.log_probs(embedded(self.model, prompt), letters))

        rows = list(zip(prompts, map(len, options), strict=True))
        return self.served.each(ask, rows, self.batch_size)


class ServedTexts(TextLikelihood):
    """See `TextLikelihood`; the texts' probabilities are a server's, a request for each token.

    Args:
        served: The language model.
        model: Its embeddings and all before them.
        prompts: Its prompt builder.
        batch_size: Texts asked about at a time.
    """

    def __init__(
        self,
        served: ServedModel,
        model: SlideLanguageModel,
        prompts: PromptBuilder,
        batch_size: int = 16,
    ) -> None:
        super().__init__(model, prompts, batch_size)
        self.served = served

    def score(self, rows: Sequence[tuple[Prompt, str]]) -> list[float]:
        """See `TextLikelihood.score`."""

        def ask(row: tuple[Prompt, str]) -> float:
            prompt, text = row
            answer = self.answer_ids(text)
            embeds = embedded(self.model, prompt, answer)
            return self.served.log_prob_of(embeds, answer, len(prompt.ids))

        return self.served.each(ask, rows, self.batch_size)


class ServedWriter(Generate):
    """See `Generate`; a server writes.

    Args:
        served: The language model.
        model: Its embeddings and all before them.
        prompts: Its prompt builder.
        batch_size: Questions asked at a time.
        max_new_tokens: Most tokens of an answer; a longer one is cut.
    """

    def __init__(
        self,
        served: ServedModel,
        model: SlideLanguageModel,
        prompts: PromptBuilder,
        batch_size: int = 16,
        max_new_tokens: int = 64,
    ) -> None:
        super().__init__(model, prompts, batch_size, max_new_tokens)
        self.served = served

    def tokens(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """See `Generate.tokens`."""

        def ask(prompt: Prompt) -> list[int]:
            embeds = embedded(self.model, prompt)
            return self.served.write(embeds, self.stops, self.max_new_tokens)

        return self.served.each(ask, prompts, self.batch_size)

    def stream(self, prompt: Prompt, sampler: Sampler) -> Iterator[int]:
        """See `Generate.stream`; the draws are the server's."""
        embeds = embedded(self.model, prompt)
        sampling = {"temperature": sampler.temperature, "top_p": sampler.top_p}
        return self.served.stream(
            embeds, self.stops, self.max_new_tokens, seed=sampler.seed, **sampling
        )


def served_log_likelihoods(
    served: ServedModel,
    model: SlideLanguageModel,
    prompts: Sequence[Prompt],
    answer: Sequence[int],
    among: Sequence[int] | None = None,
    at_once: int = 16,
) -> Tensor:
    """Return a server's log-likelihood of one answer after each of several prompts.

    Args:
        served: The language model.
        model: Its embeddings and all before them.
        prompts: The prompts, at least one.
        answer: The token ids of the answer.
        among: Normalise over these tokens only (the letters of the options); None: over all.
        at_once: Prompts asked about at a time.

    Returns:
        The log-likelihoods [B] in nats, float64, on the CPU.
    """

    def ask(prompt: Prompt) -> float:
        embeds = embedded(model, prompt, answer)
        if among is None:
            return served.log_prob_of(embeds, answer, len(prompt.ids))
        total = 0.0
        for end, token in enumerate(answer, len(prompt.ids)):
            weighed = torch.tensor(served.log_probs(embeds[:end], among), dtype=torch.float64)
            total += float(weighed[list(among).index(token)] - weighed.logsumexp(0))
        return total

    return torch.tensor(served.each(ask, prompts, at_once), dtype=torch.float64)
