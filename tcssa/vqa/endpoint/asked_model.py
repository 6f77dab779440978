"""A run that is to be asked: its language model loaded here, or on a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from tcssa.errors import UsageError
from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.likelihood import Likelihood
from tcssa.vqa.answering.prefill import context_length
from tcssa.vqa.answering.text_likelihood import TextLikelihood
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.endpoint.served_methods import ServedLikelihood, ServedTexts, ServedWriter
from tcssa.vqa.endpoint.served_model import ServedModel
from tcssa.vqa.model.run import LoadedVqa, load_vqa

if TYPE_CHECKING:
    from tcssa.vqa.settings import LanguageModelOptions


@dataclass(frozen=True)
class Ways:
    """The ways of asking a model."""

    letters: Likelihood
    texts: TextLikelihood
    writer: Generate
    context: int
    """Most tokens that the model reads."""


def load_asked(
    run: Path, llm: LanguageModelOptions, endpoint: EndpointOptions, device: str
) -> tuple[LoadedVqa, ServedModel | None]:
    """Load a run, and find its language model on the server if there is to be one.

    Args:
        run: A run directory, or a merged folder.
        llm: Where its language model is, unless a server holds it.
        endpoint: The server.
        device: Where to compute what is computed here.

    Returns:
        The run, and the model on its server; None where the language model is loaded here.

    Raises:
        UsageError: ``--llm`` or ``--allow-hub`` is given with a server.
        RunError: The run cannot be loaded, or is not merged and a server is given.
        EndpointError: The server does not answer, or has no such model.
    """
    if endpoint.endpoint is None:
        return load_vqa(run, **llm.model_dump(), device=device), None
    if llm.llm is not None:
        raise UsageError(
            "--llm and --endpoint name two language models", hint="leave one of them out"
        )
    if llm.allow_hub:
        raise UsageError(
            "--allow-hub downloads nothing beside --endpoint, whose server has the language model",
            hint="leave --allow-hub out",
        )
    trust = llm.trust_remote_code
    loaded = load_vqa(run, trust_remote_code=trust, device=device, only_embeddings=True)
    end_mark = torch.tensor([loaded.prompts.end_token_id], device=loaded.device)
    with torch.no_grad():
        embeds = loaded.model.llm.get_input_embeddings()(end_mark.repeat(3))
    return loaded, ServedModel.find(endpoint, embeds)


def ways_of(
    loaded: LoadedVqa, served: ServedModel | None, batch_size: int, max_new_tokens: int
) -> Ways:
    """Return the ways of asking a model.

    Args:
        loaded: The run.
        served: Its language model, where a server holds it.
        batch_size: Prompts read at a time.
        max_new_tokens: Most tokens of a written answer.
    """
    model, prompts, context = loaded.model, loaded.prompts, context_length(loaded.model)
    if served is None:
        return Ways(
            Likelihood(model, prompts, batch_size),
            TextLikelihood(model, prompts, batch_size),
            Generate(model, prompts, batch_size, max_new_tokens),
            context,
        )
    return Ways(
        ServedLikelihood(served, model, prompts, batch_size),
        ServedTexts(served, model, prompts, batch_size),
        ServedWriter(served, model, prompts, batch_size, max_new_tokens),
        min(context, served.context or context),
    )
