"""One folder with everything: the language model, LoRA merged into it, projector, compressor.

transformers loads the folder as it is, for text; `load_vqa` loads it as a slide language model.
"""

from __future__ import annotations

from pathlib import Path

from tcssa.errors import RunError
from tcssa.files.whole_folder import whole_folder
from tcssa.vqa.model.llm import LoadedLLM, hash_of_files, quiet, weight_files
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.run import load_vqa, save_vqa
from tcssa.vqa.model.run_file import HERE
from tcssa.vqa.settings import LanguageModelOptions


def merge_vqa(
    folder: Path,
    out: Path,
    source: LanguageModelOptions | None = None,
) -> None:
    """Write a run as one folder that needs nothing else.

    LoRA's product is added to the weights, which rounds: answers agree to within the precision of
    the weights, not to the bit. Weights that were quantised in training are here in full. The
    tokenizer's chat template becomes the one it was trained with.

    Args:
        folder: A run directory of train-vqa.
        out: The folder to write; empty, or not existing yet.
        source: Where the language model is; None takes the one that the run names.

    Raises:
        RunError: ``out`` holds something, or the run is merged already or cannot be loaded.
        LlmError: The language model is not found.
    """
    with whole_folder(out) as staged:
        options = (source or LanguageModelOptions()).model_dump()
        loaded = load_vqa(folder, **options, device="cpu", quantized=False)
        if loaded.llm.id == HERE:
            raise RunError(folder, "is merged already", hint="copy it")
        model = loaded.model
        merged = model.llm.merge_and_unload(safe_merge=True) if model.has_lora else model.llm
        tokenizer = loaded.prompts.tokenizer
        tokenizer.chat_template = loaded.prompts.template.jinja()
        with quiet():
            merged.save_pretrained(staged)
        save_vqa(
            staged,
            SlideLanguageModel(model.visual, model.projector, merged, model.image_token_id),
            loaded.prompts,
            LoadedLLM(merged, tokenizer, HERE, hash_of_files(weight_files(staged))),
            stage=loaded.settings.stage,
            encoder=loaded.settings.encoder,
            trust_remote_code=loaded.settings.llm.trust_remote_code,
            several=loaded.settings.several,
        )
