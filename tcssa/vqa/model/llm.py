"""Language models from where they lie: a folder, a GGUF file, the local cache, or the hub if asked.

Nothing is downloaded and no code that comes with a model is run, unless the caller says so. Pickled
weights are never read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tcssa.compute.hub_kernels import require_no_kernels
from tcssa.errors import LlmError, TcssaError, one_line
from tcssa.files.cache_folder import one_process
from tcssa.files.checksums import file_sha256
from tcssa.vqa.model.quantization import keep_differentiable, loading_options
from tcssa.vqa.settings import AttentionKind, QuantizeKind

_log = logging.getLogger(__name__)
_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model")
_CODE = ("*.py",)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Types of a language model's weights by the precision of its training."""
_ATTENTIONS = {"flash": "flash_attention_2"}
"""Names that transformers has for ours, where they differ."""


@dataclass(frozen=True)
class LoadedLLM:
    """A language model and its tokenizer; transformers types both loosely, hence Any."""

    model: Any
    tokenizer: Any
    id: str
    """Its name or absolute path, by which `load_llm` finds it again."""
    sha256: str
    """SHA-256 of its weights: the file's, or that of the list of hashes where there are several."""


def load_llm(
    name_or_path: str,
    *,
    allow_hub: bool = False,
    trust_remote_code: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    quantize: QuantizeKind | None = None,
    attention: AttentionKind | None = None,
) -> LoadedLLM:
    """Load a language model, in evaluation mode.

    Args:
        name_or_path: A folder, a ``.gguf`` file, or a name in the local cache of the hub.
        allow_hub: Download a name that is not in the cache.
        trust_remote_code: Run code that comes with the model.
        dtype: Type of its weights.
        device: Where to put it.
        quantize: Number format to hold its weights in; None holds them in ``dtype``.
        attention: How attention is computed; None leaves it to the model.

    Raises:
        LlmError: The model is not found, or cannot be loaded.
        CheckpointError: Its ``config.json`` is damaged, or names code to be downloaded.
        MissingExtraError: It is to be quantised, and bitsandbytes is not installed.
    """
    from transformers import AutoModelForCausalLM

    there = Path(name_or_path).expanduser().exists()
    path = _place(name_or_path, allow_hub=allow_hub, trust_remote_code=trust_remote_code)
    weights = weight_files(path)
    tokenizer = _tokenizer(path, trust_remote_code=trust_remote_code)
    folder, options = _source(path, trust_remote_code=trust_remote_code)
    if quantize is not None:
        if path.is_file():
            raise LlmError(
                f"{path}: a GGUF file is not quantised again",
                hint="leave --quantize out, or give the folder of the model with --llm",
            )
        options |= loading_options(quantize, dtype, device)
    if attention is not None:
        options["attn_implementation"] = _ATTENTIONS.get(attention, attention)
    with loading(path, "the language model"):
        # with loading info it is a pair, which its types do not know
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
        )
        model, found = loaded
    _require_whole(path, found)
    if quantize is not None:
        keep_differentiable(model)
    if path.is_file():
        del model.config.quantization_config  # the weights were expanded; they are saved as such
    model_id = str(path.resolve()) if there else name_or_path
    return LoadedLLM(model.eval().to(device), tokenizer, model_id, hash_of_files(weights))


def load_tokenizer(name_or_path: str, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a language model alone; nothing is downloaded.

    Args:
        name_or_path: A folder, a ``.gguf`` file, or a name in the local cache of the hub.
        trust_remote_code: Run code that comes with the model.

    Raises:
        LlmError: The model is not found, or its tokenizer cannot be loaded.
        CheckpointError: Its ``config.json`` is damaged, or names code to be downloaded.
    """
    path = _place(name_or_path, allow_hub=False, trust_remote_code=trust_remote_code)
    return _tokenizer(path, trust_remote_code=trust_remote_code)


def _place(name_or_path: str, *, allow_hub: bool, trust_remote_code: bool) -> Path:
    """Return the folder or file of a model, which names no kernel of the hub."""
    path = Path(name_or_path).expanduser()
    if not path.exists():
        path = _from_cache(name_or_path, allow_hub=allow_hub, with_code=trust_remote_code)
    if path.is_dir() and not trust_remote_code and (path / "config.json").exists():
        hint = "take the entry out, or give --trust-remote-code if you trust it"
        require_no_kernels(path / "config.json", hint)
    return path


def _source(path: Path, *, trust_remote_code: bool) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the options by which transformers loads a model."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    return (path.parent, options | {"gguf_file": path.name}) if path.is_file() else (path, options)


def _tokenizer(path: Path, *, trust_remote_code: bool) -> Any:
    from transformers import AutoTokenizer

    folder, options = _source(path, trust_remote_code=trust_remote_code)
    with loading(path, "the language model's tokenizer"):
        return AutoTokenizer.from_pretrained(folder, **options)


@contextlib.contextmanager
def loading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong in transformers into an error of ours.

    Args:
        path: What is loaded in the block.
        what: A name of it.

    Raises:
        LlmError: The block raised anything but an error of ours or MemoryError.
    """
    try:
        with quiet():
            yield
    except ImportError as error:
        raise LlmError(
            f"{path}: loading it needs a package that is not installed ({one_line(error, 300)})",
            hint="pip install 'tcssa[gguf]'",
        ) from None
    except (TcssaError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged configuration leads transformers into
        raise LlmError(
            f"{path}: {what} cannot be loaded ({one_line(error, 300)})",
            hint="give a folder with config.json, tokenizer.json and *.safetensors, or a .gguf",
        ) from None


def weight_files(path: Path) -> list[Path]:
    """Return the files that hold a language model's weights.

    Args:
        path: A folder, or a ``.gguf`` file.

    Raises:
        LlmError: The path holds no weights that can be loaded.
    """
    if path.is_file():
        if path.suffix != ".gguf":
            raise LlmError(
                f"{path}: is no language model", hint="give a folder or a .gguf file with --llm"
            )
        return [path]
    weights = sorted(path.glob("model*.safetensors"))
    if not weights or not (path / "config.json").is_file():
        files = [found.name for found in sorted(path.glob("*.gguf"))]
        also = f"; there is {', '.join(files)}" if files else ""
        raise LlmError(
            f"{path}: holds no language model (config.json and model*.safetensors){also}",
            hint="give the .gguf file itself" if files else "give a folder that does with --llm",
        )
    return weights


def hash_of_files(files: list[Path]) -> str:
    """Return a file's SHA-256, or that of sha256sum's lines ``hash  name`` of several files."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = [f"{file_sha256(file)}  {file.name}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _require_whole(path: Path, found: Mapping[str, Any]) -> None:
    """Refuse weights that do not fill the model; transformers would draw the rest at random."""
    lacking = [*found["missing_keys"], *(str(key) for key in found["mismatched_keys"])]
    if lacking:
        raise LlmError(
            f"{path}: the weights lack {len(lacking)} tensors of the model, or have them in "
            f"another shape; the first is {sorted(lacking)[0]}",
            hint="download or copy the model again, whole",
        )


def _from_cache(name: str, *, allow_hub: bool, with_code: bool) -> Path:
    """Return the folder of a name in the hub's local cache, downloaded if allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_FILES, *(_CODE if with_code else ())]
    elsewhere = "give the folder or .gguf file of a model with --llm"
    missing = f"the language model {name!r} is neither a folder, a file, nor in the local cache"
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except HFValidationError:
        raise LlmError(
            missing, hint="give the folder or .gguf file of a model with --llm"
        ) from None
    except LocalEntryNotFoundError:
        if not allow_hub:
            raise LlmError(missing, hint=f"{elsewhere}, or download it: --allow-hub") from None
    try:
        with one_process(name, f"fetches {name}", _log.warning):
            return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise LlmError(
            f"the language model {name!r} cannot be downloaded ({one_line(error, 300)})",
            hint=f"check name and network, or {elsewhere}",
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal, as all talk goes through us."""
    from transformers.utils import logging

    talk: Any = logging  # transformers does not type its logging
    shown, level = talk.is_progress_bar_enabled(), talk.get_verbosity()
    talk.disable_progress_bar()
    talk.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the bar of GGUF files heeds no switch
            yield
    finally:
        talk.set_verbosity(level)
        if shown:
            talk.enable_progress_bar()
