"""Slide language models that the reference implementation of TC-SSA trained, as runs of ours.

It leaves a projector (``projector.pt``), a compressor (``moe_compressor.pt`` or
``best_model.pth``), and LoRA as peft saves it. Its tokenizer was given a token ``<image>``, for
which the embeddings were resized, so that peft may have saved them with LoRA. They were never
trained, and the token is replaced by the slide's, so they are compared with the language model's
own and left out.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcssa.compressor.checkpoint import open_checkpoint, read_tensors, write_tensors
from tcssa.errors import CheckpointError, UsageError
from tcssa.files.torch_file import read_torch_file
from tcssa.files.whole_folder import whole_folder
from tcssa.vqa.model.adapter import CONFIG_FILE, WEIGHTS_FILE, load_adapter
from tcssa.vqa.model.llm import DTYPES, LoadedLLM, load_llm
from tcssa.vqa.model.model import LORA, SlideLanguageModel
from tcssa.vqa.model.projector import Projector
from tcssa.vqa.model.reference_settings import ImportSettings
from tcssa.vqa.model.run import save_vqa
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate

_PICKLED_WEIGHTS = "adapter_model.bin"


def import_reference(
    compressor: Path,
    projector: Path,
    out: Path,
    lora: Path | None = None,
    settings: ImportSettings | None = None,
) -> int:
    """Write the reference's files as a run directory.

    Args:
        compressor: Its compressor, or any that ``tcssa`` reads.
        projector: Its projector.
        out: The run directory to write; empty, or not existing yet.
        lora: Folder of its adapter; None for a model of stage 1.
        settings: The language model, and how it is asked.

    Returns:
        Number of tensors of the adapter that were left out, as they are the language model's own.

    Raises:
        RunError: ``out`` holds something.
        UsageError: The settings name another encoder than the compressor does.
        CheckpointError: A file is missing or broken, holds more than data, or is not of this model.
        ShapeError: The parts do not fit each other.
        LlmError: The language model is not found.
        TemplateError: Its tokenizer or chat template cannot be used.
    """
    settings = settings or ImportSettings()
    with whole_folder(out) as folder:
        source, projects = open_checkpoint(compressor), Projector.load(projector)
        if settings.encoder and source.encoder and settings.encoder != source.encoder:
            raise UsageError(
                f"{compressor} was trained on features of {source.encoder!r}, and --encoder names "
                f"{settings.encoder!r}",
                hint="leave --encoder out",
            )
        llm, prompts = _language_model(settings)
        visual = build_visual(VisualConfig(kind="tcssa"), source.model)
        model = SlideLanguageModel(visual, projects, llm.model, prompts.image_token_id)
        left_out = 0
        if lora is not None:
            model.llm, left_out = _adapted(lora, llm.model)
        save_vqa(
            folder,
            model,
            prompts,
            llm,
            stage=1 if lora is None else 2,
            encoder=settings.encoder or source.encoder,
            trust_remote_code=settings.trust_remote_code,
        )
    return left_out


def _language_model(settings: ImportSettings) -> tuple[LoadedLLM, PromptBuilder]:
    llm = load_llm(
        settings.llm,
        allow_hub=settings.allow_hub,
        trust_remote_code=settings.trust_remote_code,
        dtype=DTYPES[settings.precision],
    )
    if settings.chat_template:
        template = ChatTemplate.of(llm.tokenizer)
    else:
        template = ChatTemplate.without_marks(llm.tokenizer.eos_token)
    return llm, PromptBuilder(llm.tokenizer, template)


def _adapted(folder: Path, llm: Any) -> tuple[Any, int]:  # of transformers and peft, hence Any
    """Put an adapter on its language model; return also how many of its tensors are left out."""
    path = folder / WEIGHTS_FILE
    if path.is_file():
        tensors, _ = read_tensors(path)
    else:
        path = folder / _PICKLED_WEIGHTS
        tensors = _pickled(path)
    kept = {name: value for name, value in tensors.items() if LORA in name}
    for name in tensors.keys() - kept.keys():
        _require_own(path, name, tensors[name], llm)
    with tempfile.TemporaryDirectory() as scratch:
        write_tensors(Path(scratch) / WEIGHTS_FILE, kept, {})
        if not (folder / CONFIG_FILE).is_file():
            raise CheckpointError(folder / CONFIG_FILE, "the adapter lacks this file")
        shutil.copyfile(folder / CONFIG_FILE, Path(scratch) / CONFIG_FILE)
        try:
            return load_adapter(Path(scratch), llm), len(tensors) - len(kept)
        except CheckpointError as error:
            raise CheckpointError(folder / error.path.name, error.reason, hint=error.hint) from None


def _pickled(path: Path) -> dict[str, Tensor]:
    content = read_torch_file(path, CheckpointError)
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError(path, "holds no tensors of an adapter")
    return dict(content)


def _require_own(path: Path, name: str, value: Tensor, llm: Any) -> None:
    """Refuse a tensor beside LoRA, unless it is the language model's own, whatever its rows."""
    parts = {
        "embed_tokens.weight": llm.get_input_embeddings(),
        "lm_head.weight": llm.get_output_embeddings(),
    }
    own = [part.weight for ending, part in parts.items() if name.endswith(ending)]
    if own and value.ndim == 2 and value.shape[1] == own[0].shape[1]:
        rows = min(len(value), len(own[0]))
        if torch.equal(value[:rows].to(own[0].dtype), own[0][:rows]):
            return
    raise CheckpointError(
        path,
        f"has a tensor that is no part of LoRA and not the language model's own: {name[:100]}",
        hint="give the language model that it was trained on with --llm, in its --precision",
    )
