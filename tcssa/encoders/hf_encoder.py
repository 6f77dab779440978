"""Any vision model of transformers as an encoder: ``hf:<repository or folder>``.

The feature is the class token if the model has one, otherwise its pooled output (Swin, ResNet and
other hierarchies). Mean, deviation and side of the picture are those of the image processor. Models
that need code from their repository are not run.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from tcssa.compute.hub_kernels import require_no_kernels
from tcssa.encoders.base import SIDE, EncoderSpec, Network
from tcssa.encoders.torch_encoder import torch_spec
from tcssa.errors import CheckpointError, MissingDataError, UsageError, one_line
from tcssa.files.boundary import reading
from tcssa.files.cache_folder import one_process
from tcssa.files.checksums import file_sha256, params_hash

PREFIX = "hf:"

_log = logging.getLogger(__name__)
_FILES = ["*.json", "*.safetensors", "*.bin"]
_CLASS_TOKEN = re.compile(r"(^|\.)(cls_token|class_embedding)$")


def spec(name: str, weights: Path | None = None) -> EncoderSpec:
    """Describe the encoder of a repository on the hub, or of a folder with the same content.

    Args:
        name: ``hf:<repository or folder>``.
        weights: Must be None: a folder is named in the name.

    Raises:
        UsageError: ``weights`` were given.
        MissingDataError: The model cannot be found or fetched, or files of it are missing.
    """
    if weights is not None:
        raise UsageError(
            f"{name} takes no --weights", hint="name the folder of the model: hf:FOLDER"
        )
    source = name.removeprefix(PREFIX)
    folder = _folder(source)
    found = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    if not found:
        raise MissingDataError(
            f"{source} holds no weights", hint="give a model that transformers saved"
        )
    config = [folder / "config.json", folder / "preprocessor_config.json"]
    if missing := [path.name for path in config if not path.is_file()]:
        raise MissingDataError(
            f"{source} holds no {' and no '.join(missing)}",
            hint="give a vision model of transformers with its image processor",
        )
    content = {path.name: file_sha256(path) for path in [*found, *config]}
    return torch_spec(name, params_hash(content), lambda: _network(folder))


def _folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    try:
        with one_process(source, f"fetches {source}", _log.warning):
            return Path(snapshot_download(source, allow_patterns=_FILES))
    except (OSError, ValueError) as error:  # no access, no such repository, no network
        reason = re.sub(r"https?://\S+", source, " ".join(str(error).split()))[:200]
        raise MissingDataError(
            f"the model {source} is not here and cannot be fetched: {reason}",
            hint=f"if access must be asked for, do so on the page of {source} on the Hugging Face "
            "hub and log in with `hf auth login` or set HF_TOKEN; or fetch its files elsewhere and "
            "give hf:FOLDER",
        ) from None


def _network(folder: Path) -> Network:
    import torch
    import transformers

    from tcssa.encoders.transformers_networks import Readout, quiet

    library: Any = transformers  # its loaders are untyped
    require_no_kernels(folder / "config.json", "take the entry out of the file")
    # without a word on remote code transformers would ask the terminal for it
    options = {"local_files_only": True, "trust_remote_code": False}
    with quiet(), reading(folder, CheckpointError, hint="give a model that transformers saved"):
        model: Any = library.AutoModel.from_pretrained(folder, **options)
        processor: Any = library.AutoImageProcessor.from_pretrained(folder, **options)
    has_class = any(_CLASS_TOKEN.search(parameter) for parameter, _ in model.named_parameters())
    side = _side(folder, processor)
    module = Readout(model.float(), "class" if has_class else "pooled").eval()
    with torch.inference_mode():
        try:
            feature = module(torch.zeros(1, 3, side, side))
        except Exception as error:  # text towers, decoders: whatever else a repository may hold
            reason = one_line(error)
            raise CheckpointError(
                folder,
                f"the model makes no feature of one picture: {reason}",
                hint="give a vision model whose output is one transformer's or a pooled one",
            ) from None
    with reading(folder / "preprocessor_config.json", CheckpointError):
        mean = tuple(float(value) for value in processor.image_mean)
        std = tuple(float(value) for value in processor.image_std)
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"image_mean and image_std are {mean} and {std}")
    return Network(module, int(feature.shape[1]), side, mean, std)


def _side(folder: Path, processor: Any) -> int:
    """Return the side of the picture after the processor's crop.

    Raises:
        CheckpointError: The processor does not give the side, or it is too large.
    """
    for given in (getattr(processor, "crop_size", None), getattr(processor, "size", None)):
        sizes: Any = (
            given if hasattr(given, "get") else {}
        )  # a dict, or one of transformers' own kind
        for key in ("height", "shortest_edge"):
            if isinstance(value := sizes.get(key), int) and value > 0:
                SIDE.require(value, folder / "preprocessor_config.json", CheckpointError)
                return value
    raise CheckpointError(folder, "its image processor does not say how large pictures are")
