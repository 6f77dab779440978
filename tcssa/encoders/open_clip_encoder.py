"""The image tower of an open_clip model: ``open_clip:<model>/<pretrained>``, in eager torch.

The part after the slash is open_clip's name of the weights, or a local file of weights.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from tcssa.encoders.base import EncoderSpec, Network
from tcssa.encoders.torch_encoder import torch_spec
from tcssa.errors import MissingDataError, UnknownNameError, UsageError, one_line
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.optional import require

PREFIX = "open_clip:"


def spec(name: str, file: Path | None = None) -> EncoderSpec:
    """Describe the encoder of an open_clip model.

    Args:
        name: ``open_clip:<model>/<pretrained>``.
        file: Must be None: a file is named in the name.

    Raises:
        MissingExtraError: open_clip is not installed.
        UsageError: The name does not name the weights, or ``file`` was given.
        UnknownNameError: open_clip has no model of this name.
    """
    if file is not None:
        raise UsageError(
            f"{name} takes no --weights", hint=f"name the file: {PREFIX}<model>/{file}"
        )
    open_clip = require("open_clip", extra="encoders")
    model, _, weights = name.removeprefix(PREFIX).partition("/")
    if model not in open_clip.list_models():
        raise UnknownNameError("open_clip model", model, open_clip.list_models())
    if not weights:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(model))
        raise UsageError(
            f"{name} does not say which weights",
            hint=f"give {PREFIX}{model}/WEIGHTS: a file, or one of {known}",
        )
    content = file_sha256(Path(weights)) if Path(weights).is_file() else weights
    weights_hash = params_hash({"open_clip": open_clip.__version__, "name": name, "is": content})

    def network() -> Network:
        visual = _load(open_clip, model, weights)
        size = visual.image_size
        return Network(
            visual.eval(),
            feature_dim=int(visual.output_dim),
            input_px=int(size[0] if isinstance(size, tuple | list) else size),
            mean=visual.image_mean,
            std=visual.image_std,
        )

    return torch_spec(name, weights_hash, network)


def _load(open_clip: ModuleType, model: str, weights: str) -> Any:  # open_clip ships no types
    try:
        return open_clip.create_model(model, pretrained=weights, require_pretrained=True).visual
    except (OSError, RuntimeError) as error:  # no weights, no network, no access
        reason = one_line(error, 300)
        raise MissingDataError(
            f"open_clip cannot load the weights {weights} of {model}: {reason}",
            hint="on a machine without network, give a file of weights behind the slash",
        ) from None
