"""LoRA on disk: a folder that peft reads, written and read strictly.

The embeddings are never part of it. peft would check on its hub whether they changed; the
vocabulary is never resized here, so they did not.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.text import read_json, validated

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_FILES = (CONFIG_FILE, WEIGHTS_FILE)
_NAME = "default"
_MOST_RANK, _MOST_LAYERS = 65_536, 1000


def attach_lora(llm: Any, config: Any) -> Any:
    """Put LoRA on a language model, as peft does it.

    Args:
        llm: A causal language model of transformers, hence Any.
        config: A LoraConfig; peft types its own loosely, hence Any.

    Returns:
        A PeftModel.

    Raises:
        ValueError: No layer of the model has the names in the configuration.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft asks the model by a name that transformers has deprecated
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(llm, config)


def save_adapter(folder: Path, llm: Any, base_id: str) -> None:
    """Write what LoRA added to a language model.

    Args:
        folder: The folder to write.
        llm: A PeftModel; peft types its own loosely, hence Any.
        base_id: The model that LoRA was put on.
    """
    from peft import get_peft_model_state_dict

    with tempfile.TemporaryDirectory() as scratch:
        llm.peft_config[_NAME].save_pretrained(scratch)
        config = json.loads((Path(scratch) / CONFIG_FILE).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": base_id, "inference_mode": True}
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # peft keeps a set; the same adapter is the same bytes
    write_tensors(
        folder / WEIGHTS_FILE, get_peft_model_state_dict(llm, save_embedding_layers=False), {}
    )
    atomic.write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")


class _Settings(BaseModel):
    """The settings of LoRA that a training of ours chooses; all others have peft's defaults."""

    model_config = ConfigDict(strict=True)

    r: int = Field(ge=1, le=_MOST_RANK)
    lora_alpha: int | FiniteFloat
    lora_dropout: float = Field(ge=0, lt=1)
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(max_length=_MOST_LAYERS)]
    """Any other text would be a regular expression, and one can be made to run for ever."""
    task_type: Literal["CAUSAL_LM"]


_SAID_OTHERWISE = {"base_model_name_or_path", "inference_mode", "peft_version", "revision"}
"""The caller vouches for the model, and we load it for inference."""


def _read_config(path: Path) -> Any:  # a LoraConfig; peft types its own loosely
    """Read what `save_adapter` wrote.

    peft acts on what stands there: one field names a module to import, others change what is
    computed. So the fields that we set are read, and all others must have the values that peft
    gives them by itself. A field that is not known here, as adapters of other
    versions of peft have them, must be empty.

    Raises:
        CheckpointError: The file cannot be read, or says more than an adapter of ours does.
    """
    from peft import LoraConfig

    content: dict[str, Any] = read_json(path, CheckpointError, top=dict)
    settings = validated(content, path, CheckpointError, _Settings).model_dump()
    config: Any = LoraConfig(**settings, inference_mode=True)
    usual = json.loads(json.dumps(config.to_dict(), default=sorted))
    for name in sorted(content.keys() - _SAID_OTHERWISE - _Settings.model_fields.keys()):
        if content[name] != usual.get(name) and (name in usual or content[name]):
            raise CheckpointError(
                path,
                f"sets {name[:40]!r} to {str(content[name])[:60]!r}, which no adapter of ours does",
                hint="give the adapter that tcssa train-vqa wrote",
            )
    return config


def load_adapter(folder: Path, llm: Any) -> Any:
    """Put LoRA from a folder on the language model that it was trained on.

    Args:
        folder: The folder that `save_adapter` wrote.
        llm: A causal language model of transformers, hence Any.

    Returns:
        A PeftModel, in evaluation mode.

    Raises:
        CheckpointError: A file is missing or broken, or the files are not LoRA of this model.
    """
    from peft import get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

    tensors, _ = read_tensors(folder / WEIGHTS_FILE)
    config = _read_config(folder / CONFIG_FILE)
    with reading(folder / CONFIG_FILE, CheckpointError):
        adapted = attach_lora(llm, config)
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    shapes = {name: list(value.shape) for name, value in expected.items()}
    found = {name: list(value.shape) for name, value in tensors.items()}
    if found != shapes:
        differing = sorted(n for n in {*found, *shapes} if found.get(n) != shapes.get(n))
        raise CheckpointError(
            folder / WEIGHTS_FILE,
            f"its tensors are not those of this model: {len(differing)} differ, the first is "
            f"{differing[0]}",
        )
    set_peft_model_state_dict(adapted, tensors)
    return adapted.eval()
