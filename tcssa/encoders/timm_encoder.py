"""Any pretrained model of timm as an encoder: ``timm:<model>``, in eager torch.

The weights come from where timm gets them (the Hugging Face hub, or its cache when offline).
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from tcssa.checksums import params_hash
from tcssa.encoders.base import Device, EncoderSpec
from tcssa.errors import MissingDataError, UnknownNameError
from tcssa.optional import require

if TYPE_CHECKING:
    from torch import nn

    from tcssa.encoders.torch_encoder import TorchEncoder

PREFIX = "timm:"


def spec(name: str) -> EncoderSpec:
    """The encoder of a timm model.

    Args:
        name: ``timm:<model>``.

    Raises:
        MissingExtraError: timm is not installed.
        UnknownNameError: timm has no model of this name.
    """
    timm = require("timm", extra="encoders")
    model = name.removeprefix(PREFIX)
    known = {*timm.list_models(), *timm.list_pretrained()}
    if not model.startswith("hf-hub:") and model not in known:
        raise UnknownNameError("timm model", model, known)
    weights_hash = params_hash({"timm": timm.__version__, "model": model})

    def load(device: Device) -> TorchEncoder:
        from tcssa.devices import resolve_device
        from tcssa.encoders.torch_encoder import TorchEncoder

        network = _load(timm, model)
        config: dict[str, Any] = timm.data.resolve_model_data_config(network)
        return TorchEncoder(
            name,
            network,
            feature_dim=int(network.num_features),  # type: ignore[arg-type]  # timm sets it
            input_px=int(config["input_size"][1]),
            mean=config["mean"],
            std=config["std"],
            weights_hash=weights_hash,
            device=resolve_device(device).type,
        )

    return EncoderSpec(name, weights_hash, load)


def _load(timm: ModuleType, model: str) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(model, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:  # no weights, no network, no access
        reason = " ".join(str(error).split())[:300]
        raise MissingDataError(
            f"timm cannot load the weights of {model}: {reason}",
            hint="on a machine without network, fill the Hugging Face cache beforehand",
        ) from None
    return network
