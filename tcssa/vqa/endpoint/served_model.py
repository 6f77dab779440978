"""A language model that a server holds: next-token probabilities and text after embedded prompts.

The protocol is that of vLLM's ``/v1/completions``: ``prompt_embeds`` is a tensor [T, H] as
torch.save writes it, in base64. With it the server gives no ``prompt_logprobs`` and no ``echo``, so
the likelihood of a text is asked for token by token: the answer's embedded beginning is sent with
the prompt, and ``logprobs`` of the one next token are asked for. They name the likeliest tokens
only, and the one that was written: a token that is not among the likeliest is the only one allowed
in a further request. Log-probabilities have to be those before any such restriction (vLLM's
default).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Self, TypeVar

import torch
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from torch import Tensor

from tcssa.errors import EndpointError
from tcssa.files.text import first_fault
from tcssa.vqa.endpoint.connection import Connection, RefusedRequestError
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions

_COMPLETIONS = "/v1/completions"
_LIKELIEST = 20
"""Likeliest tokens of an answer; the most that vLLM gives by default."""
_ROUNDING = 1.0
"""Most that two log-probabilities of a token differ by rounding; the least likely of those that a
server names is at most 1 in 20, which is -3."""
_NEUTRAL = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""vLLM takes what is left out from the model's own generation_config.json."""
_PREFIX = "token_id:"
_SERVE = "serve the folder that tcssa merge wrote: vllm serve DIR --enable-prompt-embeds"
T = TypeVar("T")
R = TypeVar("R")
Name = Annotated[str, Field(pattern=rf"^{_PREFIX}\d+$")]
M = TypeVar("M", bound=BaseModel)


class _Card(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[_Card]


class _LogProbs(BaseModel):
    tokens: list[Name]
    token_logprobs: list[FiniteFloat]
    top_logprobs: list[dict[Name, FiniteFloat]] | None = None


class _Choice(BaseModel):
    logprobs: _LogProbs | None = None


class _Piece(BaseModel):
    choices: Annotated[list[_Choice], Field(max_length=1)]


class _Usage(BaseModel):
    prompt_tokens: int


class _Answer(_Piece):
    choices: Annotated[list[_Choice], Field(min_length=1, max_length=1)]
    usage: _Usage


class ServedModel:
    """A language model that a server holds.

    Args:
        connection: The server.
        name: Name of the model there.
        context: Most tokens that it reads; None if the server does not say.

    Attributes:
        name: Name of the model.
        context: Most tokens that it reads.
    """

    def __init__(self, connection: Connection, name: str, context: int | None) -> None:
        self.connection, self.name, self.context = connection, name, context

    @classmethod
    def find(cls, options: EndpointOptions, embeds: Tensor) -> Self:
        """Find the model on its server, and try it.

        Args:
            options: The server, and the name of the model there.
            embeds: An embedded text [T, H] to try.

        Raises:
            EndpointError: The server does not answer, has no such model or several, or takes no
                prompts that are embedded.
        """
        assert options.endpoint is not None
        connection = Connection(options.endpoint, options.endpoint_timeout)
        cards = _read(_Models, connection, connection.get("/v1/models")).data
        names = ", ".join(card.id for card in cards)
        wanted = options.endpoint_model
        found = [card for card in cards if wanted in (None, card.id)]
        if len(found) != 1:
            raise EndpointError(
                f"{connection.address} has no model {wanted!r}; it has {names}"
                if wanted
                else f"{connection.address} has {len(cards)} models: {names}",
                hint="name one of these with --endpoint-model",
            )
        model = cls(connection, found[0].id, found[0].max_model_len)
        told = model._next(embeds)
        if not told:
            raise EndpointError(
                f"{connection.address} tells no log-probabilities",
                hint="start it without --max-logprobs 0",
            )
        rarest = min(told, key=told.__getitem__)
        if abs(model.log_probs(embeds, [rarest])[0] - told[rarest]) > _ROUNDING:
            raise EndpointError(
                f"{connection.address} gives log-probabilities after restrictions",
                hint="start it without --logprobs-mode, or with --logprobs-mode raw_logprobs",
            )
        return model

    def log_probs(self, embeds: Tensor, tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of each token as the next one.

        Args:
            embeds: The embedded prompt [T, H].
            tokens: Token ids.

        Raises:
            EndpointError: The server does not answer, or not with such log-probabilities.
        """
        known = self._next(embeds) if len(tokens) > 1 else {}
        for token in tokens:
            if token not in known:
                known |= self._next(embeds, allowed_token_ids=[token])
            if token not in known:
                raise EndpointError(
                    f"{self.connection.address} wrote another token than {token}, the only one "
                    "that was allowed",
                    hint=_SERVE,
                )
        return [known[token] for token in tokens]

    def log_prob_of(self, embeds: Tensor, answer: Sequence[int], num_prompt: int) -> float:
        """Return the log-probability of a text after a prompt.

        Args:
            embeds: The prompt and the text, embedded [T, H].
            answer: Token ids of the text.
            num_prompt: Tokens of the prompt.
        """
        ends = range(num_prompt, num_prompt + len(answer))
        return sum(
            self.log_probs(embeds[:end], [token])[0]
            for end, token in zip(ends, answer, strict=True)
        )

    def write(self, embeds: Tensor, stops: set[int], max_new_tokens: int) -> list[int]:
        """Return the likeliest tokens after a prompt, without the one that ends them.

        Args:
            embeds: The embedded prompt [T, H].
            stops: Tokens that end an answer.
            max_new_tokens: Most tokens; a longer answer is cut.
        """
        wanted = {"max_tokens": max_new_tokens, "stop_token_ids": sorted(stops)}
        (choice,) = self._ask(embeds, **wanted).choices
        return _tokens(self._log_probs_of(choice), stops)

    def stream(
        self, embeds: Tensor, stops: set[int], max_new_tokens: int, **sampling: float
    ) -> Iterator[int]:
        """Yield the tokens of an answer as they come, without the one that ends it.

        Args:
            embeds: The embedded prompt [T, H].
            stops: Tokens that end an answer.
            max_new_tokens: Most tokens; a longer answer is cut.
            sampling: ``temperature``, ``top_p`` and ``seed``, as the protocol names them.
        """
        wanted = {"max_tokens": max_new_tokens, "stop_token_ids": sorted(stops), "stream": True}
        body = self._body(embeds, **wanted, **sampling)
        for said in self.connection.stream(_COMPLETIONS, body):
            for choice in _read(_Piece, self.connection, said).choices:
                if choice.logprobs is not None:  # the last piece may say nothing but the reason
                    yield from _tokens(choice.logprobs, stops)

    def each(self, ask: Callable[[T], R], rows: Sequence[T], at_once: int) -> list[R]:
        """Return the answer to each row, several asked at a time.

        Args:
            ask: Asks the server about one row.
            rows: The rows.
            at_once: Most rows that are asked at a time.
        """
        with ThreadPoolExecutor(at_once) as pool:
            waiting = [pool.submit(ask, row) for row in rows]
            try:
                return [each.result() for each in waiting]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what is left would fail one by one
                raise

    def _next(self, embeds: Tensor, **more: Any) -> dict[int, float]:
        """Return the log-probabilities of the next token that the server tells."""
        (choice,) = self._ask(embeds, max_tokens=1, logprobs=_LIKELIEST, **more).choices
        found = self._log_probs_of(choice)
        written = dict(zip(found.tokens, found.token_logprobs, strict=False))
        likeliest = {} if "allowed_token_ids" in more else (found.top_logprobs or [{}])[0]
        return {_token(name): value for name, value in {**likeliest, **written}.items()}

    def _log_probs_of(self, choice: _Choice) -> _LogProbs:
        if choice.logprobs is None:
            raise EndpointError(
                f"{self.connection.address} gives no log-probabilities", hint=_SERVE
            )
        return choice.logprobs

    def _ask(self, embeds: Tensor, **more: Any) -> _Answer:
        body = self._body(embeds, **more)
        try:
            answer = _read(_Answer, self.connection, self.connection.post(_COMPLETIONS, body))
        except RefusedRequestError as error:
            if "prompt_embeds" not in error.message.replace("-", "_"):
                raise
            raise EndpointError(
                f"{self.connection.address} takes no embedded prompts of {self.name}: "
                f"{error.message}",
                hint=_SERVE,
            ) from None
        if answer.usage.prompt_tokens != len(embeds):
            raise EndpointError(
                f"{self.connection.address} does not read prompt_embeds: it was sent "
                f"{len(embeds)} tokens and counts {answer.usage.prompt_tokens}",
                hint=_SERVE,
            )
        return answer

    def _body(self, embeds: Tensor, **more: Any) -> dict[str, Any]:
        content = io.BytesIO()
        torch.save(embeds.detach().cpu().clone(), content)  # a view would save all it is a part of
        return {
            "model": self.name,
            "prompt_embeds": base64.b64encode(content.getvalue()).decode(),
            "temperature": 0.0,
            "logprobs": 1,
            "return_tokens_as_token_ids": True,
            **_NEUTRAL,
            **more,
        }


def _read(kind: type[M], connection: Connection, content: Any) -> M:
    """Read what a server said.

    Raises:
        EndpointError: It is not what the protocol says.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as fault:
        raise EndpointError(
            f"{connection.address} answers otherwise than vLLM does: {first_fault(fault)}",
            hint=_SERVE,
        ) from None


def _token(name: str) -> int:
    return int(name.removeprefix(_PREFIX))


def _tokens(found: _LogProbs, stops: set[int]) -> list[int]:
    """Return the tokens that were written; the one that ends them comes with them."""
    return [token for token in map(_token, found.tokens) if token not in stops]
