"""The run directory of a slide language model: everything but the language model itself.

::

    RUN/
      vqa.json                  what it is, with the hashes of all other files; written last
      compressor.safetensors    of --visual tcssa
      visual.safetensors        of --visual abmil and topm
      projector.safetensors
      adapter/                  LoRA, from stage 2 on
      tokenizer/

Nothing is guessed on loading: a piece that is missing, or is not the one that was saved, is an
error, and so is another language model than the one it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from tcssa.compressor import SlotCompressor
from tcssa.compressor.checkpoint import (
    load_compressor,
    load_strictly,
    read_tensors,
    save_compressor,
    write_tensors,
)
from tcssa.compute.devices import resolve_device
from tcssa.errors import RunError
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.plugins import refusal
from tcssa.run import COMPRESSOR_FILE
from tcssa.version import __version__
from tcssa.vqa.model.adapter import ADAPTER_FILES, load_adapter, save_adapter
from tcssa.vqa.model.embeddings_only import load_embeddings
from tcssa.vqa.model.llm import LoadedLLM, load_llm
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.projector import Projector
from tcssa.vqa.model.run_file import (
    ADAPTER_FOLDER,
    HERE,
    PROJECTOR_FILE,
    SCHEMA_VERSION,
    TOKENIZER_FOLDER,
    VISUAL_FILE,
    BaseModelFacts,
    VqaRun,
    read_vqa,
)
from tcssa.vqa.model.visual_encoder import VisualEncoder
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.settings import (
    TRUST_OPTION,
    VQA_FILE,
    AttentionKind,
    QuantizeKind,
    SeveralSlides,
)


@dataclass(frozen=True)
class LoadedVqa:
    """A slide language model, ready to be asked or to be trained on."""

    model: SlideLanguageModel
    prompts: PromptBuilder
    settings: VqaRun
    device: torch.device
    folder: Path
    llm: LoadedLLM
    """Its language model and where it came from; with LoRA, if there is any, in place."""
    quantize: QuantizeKind | None = None
    """Number format that the language model's weights are held in, if they are quantised."""

    def describe(self) -> dict[str, Any]:
        """Describe the model for a report, JSON-able."""
        settings = self.settings
        return {
            "stage": settings.stage,
            "visual": settings.visual.kind,
            "num_visual_tokens": settings.num_visual_tokens,
            "feature_dim": settings.feature_dim,
            "encoder": settings.encoder,
            "llm": Path(self.llm.id).name if Path(self.llm.id).is_absolute() else self.llm.id,
            "llm_sha256": settings.llm.sha256,
            "llm_dtype": _dtype_of(self.model.llm),
            **self._quantized(),
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """Return a hash that changes with all that decides its answers, and with nothing else."""
        facts = self.settings.model_dump(mode="json", exclude={"tcssa_version", "several"})
        facts["llm"] = {"sha256": self.settings.llm.sha256, "dtype": _dtype_of(self.model.llm)}
        facts["llm"] |= self._quantized()
        return params_hash(facts)

    def _quantized(self) -> dict[str, str]:
        return {"llm_quantize": self.quantize} if self.quantize else {}


def save_vqa(
    folder: Path,
    model: SlideLanguageModel,
    prompts: PromptBuilder,
    llm: LoadedLLM,
    *,
    stage: Literal[1, 2],
    encoder: str | None = None,
    trust_remote_code: bool = False,
    quantize: QuantizeKind | None = None,
    several: SeveralSlides = "error",
) -> None:
    """Write a model as a run directory; ``vqa.json`` comes last, and makes it one.

    Args:
        folder: The folder; other files in it are left alone.
        model: The model.
        prompts: Its prompt builder.
        llm: Its language model, as it was loaded.
        stage: The stage it was trained in.
        encoder: Encoder of the features it was trained on.
        trust_remote_code: True if the language model needs code that comes with it.
        quantize: Number format that its weights were held in, if they were quantised.
        several: What several slides of a row became in training.
    """
    (folder / VQA_FILE).unlink(missing_ok=True)
    paths = [*_save_visual(folder, model.visual, encoder), folder / PROJECTOR_FILE]
    model.projector.save(folder / PROJECTOR_FILE)
    if model.has_lora:
        save_adapter(folder / ADAPTER_FOLDER, model.llm, llm.id)
        paths += [folder / ADAPTER_FOLDER / name for name in ADAPTER_FILES]
    tokenizer = folder if llm.id == HERE else folder / TOKENIZER_FOLDER
    if llm.id == HERE:
        paths += [folder / name for name in ("config.json", "generation_config.json")]
    paths += [Path(name) for name in prompts.tokenizer.save_pretrained(tokenizer)]
    content = VqaRun(
        schema_version=SCHEMA_VERSION,
        tcssa_version=__version__,
        stage=stage,
        encoder=encoder,
        num_visual_tokens=_fixed_num_tokens(model.visual),
        feature_dim=model.visual.feature_dim,
        visual=model.visual.config,
        template=prompts.template,
        image_token=prompts.image_token,
        system=prompts.system,
        llm=BaseModelFacts(
            id=llm.id,
            sha256=llm.sha256,
            dtype=_dtype_of(model.llm),
            trust_remote_code=trust_remote_code,
            quantize=quantize,
        ),
        several=several,
        files={
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(set(paths))
            if path.is_file()
        },
    )
    without: Any = {} if quantize else {"llm": {"quantize"}}
    if several == "error":  # a file that older versions read
        without["several"] = True
    text = content.model_dump_json(indent=2, exclude=without)
    atomic.write_text(folder / VQA_FILE, text + "\n")


def load_vqa(
    folder: Path | str,
    *,
    llm: str | None = None,
    allow_hub: bool = False,
    trust_remote_code: bool = False,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    quantized: bool = True,
    attention: AttentionKind | None = None,
    only_embeddings: bool = False,
) -> LoadedVqa:
    """Load a run directory or a merged folder, in evaluation mode.

    Args:
        folder: The folder.
        llm: Folder, GGUF file or name of the language model; None takes the one the run names.
        allow_hub: Let it be downloaded.
        trust_remote_code: Run code that comes with it, where the run needs that.
        device: Where to compute.
        dtype: Type of the language model's weights; the one it was trained in if not given.
        quantized: Quantise the language model if it was so in training; False loads it in full.
        attention: How attention is computed; None leaves it to the model.
        only_embeddings: Load no more of the language model than embeds a prompt, for a server that
            holds the rest.

    Raises:
        RunError: A piece is missing or is not the one that was saved, the language model is not the
            one it was trained on, or it needs code of its own without ``trust_remote_code``; or the
            folder is not merged where ``only_embeddings`` are wanted.
        CheckpointError: A piece does not fit the others.
        LlmError: The language model is not found.
        DeviceError: The device is not available.
    """
    folder = Path(folder)
    settings = read_vqa(folder)
    if settings.llm.trust_remote_code and not trust_remote_code:
        raise refusal(True, folder / VQA_FILE, TRUST_OPTION, RunError)
    place = resolve_device(device) if isinstance(device, str) else device
    quantize = settings.llm.quantize if quantized else None
    if only_embeddings:
        base = _load_embeddings(folder, settings)
    else:
        base = _load_base(
            folder,
            settings,
            llm,
            allow_hub=allow_hub,
            dtype=dtype or getattr(torch, settings.llm.dtype),
            device=place if quantize else "cpu",
            quantize=quantize,
            attention=attention,
        )
    model, prompts = _put_together(folder, settings, base)
    return LoadedVqa(model.to(place).eval(), prompts, settings, place, folder, base, quantize)


def _put_together(
    folder: Path, settings: VqaRun, base: LoadedLLM
) -> tuple[SlideLanguageModel, PromptBuilder]:
    """Return the language model with the folder's pieces around it, and what makes its prompts."""
    adapted = base.model
    if ADAPTER_FOLDER in {name.partition("/")[0] for name in settings.files}:
        adapted = load_adapter(folder / ADAPTER_FOLDER, base.model)
    with reading(folder / TOKENIZER_FOLDER, RunError):
        prompts = PromptBuilder(
            base.tokenizer, settings.template, settings.system, settings.image_token
        )
    visual, projector = _load_visual(folder, settings), Projector.load(folder / PROJECTOR_FILE)
    return SlideLanguageModel(visual, projector, adapted, prompts.image_token_id), prompts


def _load_base(
    folder: Path,
    settings: VqaRun,
    llm: str | None,
    *,
    allow_hub: bool,
    **how: Any,  # options of `load_llm`
) -> LoadedLLM:
    """Load the language model, and the tokenizer that the run keeps."""
    from transformers import AutoTokenizer

    facts = settings.llm
    inside = facts.id == HERE
    base = load_llm(
        str(folder) if inside else llm or facts.id,
        allow_hub=allow_hub,
        trust_remote_code=facts.trust_remote_code,
        **how,
    )
    _require_same(folder, facts, base)
    place = folder if inside else folder / TOKENIZER_FOLDER
    with reading(place, RunError):
        tokenizer = AutoTokenizer.from_pretrained(
            place, local_files_only=True, trust_remote_code=facts.trust_remote_code
        )
    return LoadedLLM(base.model, tokenizer, HERE if inside else base.id, base.sha256)


def _load_embeddings(folder: Path, settings: VqaRun) -> LoadedLLM:
    """Load what embeds a prompt, and the tokenizer, of a merged folder."""
    if settings.llm.id != HERE:
        raise RunError(
            folder,
            "is not merged, and a server holds a merged model",
            hint=f"tcssa merge {folder} --out DIR, serve DIR, and give DIR as the run",
        )
    base = load_embeddings(folder, trust_remote_code=settings.llm.trust_remote_code)
    _require_same(folder, settings.llm, base)
    return replace(base, id=HERE)


def _require_same(folder: Path, facts: BaseModelFacts, base: LoadedLLM) -> None:
    """Refuse another language model than the one that the run was trained on."""
    if base.sha256 != facts.sha256:
        raise RunError(
            folder,
            f"was trained on a language model of SHA-256 {facts.sha256[:12]}…, "
            f"{base.id} has {base.sha256[:12]}…",
            hint="copy the folder again, whole"
            if facts.id == HERE
            else f"give the one it was trained on ({facts.id}) with --llm",
        )


def _save_visual(folder: Path, visual: VisualEncoder, encoder: str | None) -> list[Path]:
    compressor = getattr(visual, "compressor", None)
    if isinstance(compressor, SlotCompressor):
        save_compressor(compressor, folder / COMPRESSOR_FILE, encoder)
        return [folder / COMPRESSOR_FILE]
    state = visual.state_dict()
    if not state:
        return []
    write_tensors(folder / VISUAL_FILE, state, {"visual": visual.config.model_dump()})
    return [folder / VISUAL_FILE]


def _load_visual(folder: Path, settings: VqaRun) -> VisualEncoder:
    if settings.visual.kind == "tcssa":
        return build_visual(settings.visual, load_compressor(folder / COMPRESSOR_FILE))
    path = folder / VISUAL_FILE
    state = read_tensors(path)[0] if VISUAL_FILE in settings.files else {}
    return load_strictly(lambda: build_visual(settings.visual), state, path)


def _fixed_num_tokens(visual: VisualEncoder) -> int | None:
    """Return the tokens that every slide becomes, or None where that depends on the slide."""
    return visual.num_tokens(1) if visual.fixed_length else None


def _dtype_of(llm: Any) -> Any:  # one of the types that `BaseModelFacts` knows
    return str(llm.get_input_embeddings().weight.dtype).removeprefix("torch.")
