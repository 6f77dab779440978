"""Any model of timm as an encoder: ``timm:<model>``, in eager torch.

The weights are the user's own file, or those that timm loads (from the Hugging Face hub, or from
its cache when offline).
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tcssa.encoders.base import EncoderSpec, Network
from tcssa.encoders.torch_encoder import torch_spec
from tcssa.encoders.weights import WeightsFile, load_into, require_file
from tcssa.errors import MissingDataError, UnknownNameError, one_line
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.optional import require

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm:"

_HEADS = r"(head|fc|classifier)\b"


def spec(name: str, weights: Path | None = None) -> EncoderSpec:
    """Describe the encoder of a timm model.

    Args:
        name: ``timm:<model>``.
        weights: A state dict in place of timm's own weights; its head is left out.

    Raises:
        MissingExtraError: timm is not installed.
        UnknownNameError: timm has no model of this name.
        MissingDataError: There is no file at ``weights``.
    """
    timm = require("timm", extra="encoders")
    model = name.removeprefix(PREFIX)
    known = {*timm.list_models(), *timm.list_pretrained()}
    if not model.startswith("hf-hub:") and model not in known:
        raise UnknownNameError("timm model", model, known)
    recipe = {"timm": timm.__version__, "model": model}
    if weights is not None:
        recipe["content"] = file_sha256(require_file(name, weights))

    def network() -> Network:
        module = _load(timm, model) if weights is None else _load_file(timm, model, weights)
        config: dict[str, Any] = timm.data.resolve_model_data_config(module)
        return Network(
            module.eval(),
            feature_dim=int(module.num_features),  # type: ignore[arg-type]  # timm sets it
            input_px=int(config["input_size"][1]),
            mean=config["mean"],
            std=config["std"],
        )

    return torch_spec(name, params_hash(recipe), network)


def _load(timm: ModuleType, model: str) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(model, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:  # no weights, no network, no access
        reason = one_line(error, 300)
        raise MissingDataError(
            f"timm cannot load the weights of {model}: {reason}",
            hint="on a machine without network, fill the Hugging Face cache beforehand, or give "
            "--weights FILE",
        ) from None
    return network


def _load_file(timm: ModuleType, model: str, weights: Path) -> nn.Module:
    network: nn.Module = timm.create_model(model, pretrained=False, num_classes=0)
    load_into(network, WeightsFile(weights).read(), weights, ignored=_HEADS)
    return network
