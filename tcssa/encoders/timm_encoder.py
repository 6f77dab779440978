"""Any pretrained model of timm as an encoder: ``timm:<model>``, in eager torch.

The weights come from where timm gets them (the Hugging Face hub, or its cache when offline).
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.checksums import params_hash
from tcssa.encoders.base import Device, EncoderSpec
from tcssa.errors import DeviceError, MissingDataError, UnknownNameError
from tcssa.optional import require

if TYPE_CHECKING:
    import torch


def spec(name: str, model: str) -> EncoderSpec:
    """The encoder of a timm model.

    Raises:
        MissingExtraError: timm is not installed.
        UnknownNameError: timm has no model of this name.
    """
    timm = require("timm", extra="encoders")
    known = {*timm.list_models(), *timm.list_pretrained()}
    if not model.startswith("hf-hub:") and model not in known:
        raise UnknownNameError("timm model", model, known)
    weights_hash = params_hash({"timm": timm.__version__, "model": model})
    return EncoderSpec(name, weights_hash, lambda device: TimmEncoder(name, model, device))


class TimmEncoder:
    """See `tcssa.encoders.base.Encoder`."""

    def __init__(self, name: str, model: str, device: Device) -> None:
        import torch

        timm = require("timm", extra="encoders")
        self.name = name
        self.weights_hash = params_hash({"timm": timm.__version__, "model": model})
        self.device = _torch_device(device)
        network = _load(timm, model)
        self._network = network.eval().to(self.device)
        config: dict[str, Any] = timm.data.resolve_model_data_config(network)
        self.input_px = int(config["input_size"][1])
        self.feature_dim = int(network.num_features)  # type: ignore[arg-type]  # timm sets it
        self.batch_size = 64 if self.device == "cuda" else 8
        self._mean = torch.tensor(config["mean"], device=self.device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(config["std"], device=self.device).view(1, 3, 1, 1) * 255

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(patches).to(self.device).permute(0, 3, 1, 2).float()
            features = self._network((pixels - self._mean) / self._std)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result


def _load(timm: ModuleType, model: str) -> torch.nn.Module:
    try:
        network: torch.nn.Module = timm.create_model(model, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:  # no weights, no network, no access
        reason = " ".join(str(error).split())[:300]
        raise MissingDataError(
            f"timm cannot load the weights of {model}: {reason}",
            hint="on a machine without network, fill the Hugging Face cache beforehand",
        ) from None
    return network


def _torch_device(device: Device) -> str:
    import torch

    if torch.cuda.is_available() and device != "cpu":
        return "cuda"
    if device == "cuda":
        raise DeviceError(
            "device cuda was asked for, but torch finds no GPU",
            hint="use --device cpu, or install a torch with CUDA",
        )
    return "cpu"
