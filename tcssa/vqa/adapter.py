"""LoRA on disk: a folder that peft reads, written and read strictly.

The embeddings are never part of it. peft would look on its hub whether they changed; the vocabulary
is never resized here, so they did not.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

from tcssa import atomic
from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.errors import CheckpointError, one_line

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_FILES = (CONFIG_FILE, WEIGHTS_FILE)
_NAME = "default"


def attach_lora(llm: Any, config: Any) -> Any:
    """Put LoRA on a language model, as peft does it.

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


def load_adapter(folder: Path, llm: Any) -> Any:
    """Put LoRA from a folder on the language model that it was trained on.

    Returns:
        A PeftModel, in evaluation mode.

    Raises:
        CheckpointError: A file is missing or broken, or the tensors are not those of this model.
    """
    from peft import LoraConfig, get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

    tensors, _ = read_tensors(folder / WEIGHTS_FILE)
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        del content["base_model_name_or_path"]  # the caller vouches for the model
        adapted = attach_lora(llm, LoraConfig(**content))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = one_line(error)
        raise CheckpointError(
            folder / CONFIG_FILE, f"is no LoRA of this model ({reason})"
        ) from None
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
