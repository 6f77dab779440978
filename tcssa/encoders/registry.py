"""The encoders that have a name."""

from __future__ import annotations

from collections.abc import Callable

from tcssa.encoders import efficientnet, timm_encoder
from tcssa.encoders.base import Device, Encoder, EncoderSpec
from tcssa.errors import UnknownNameError

_TIMM = "timm:"
_SPECS: dict[str, Callable[[], EncoderSpec]] = {
    efficientnet.NAME: efficientnet.pretrained_spec,
    efficientnet.RANDOM_NAME: efficientnet.random_spec,
}


def encoder_names() -> list[str]:
    """The names that can be given; ``timm:<model>`` stands for all models of timm."""
    return [*_SPECS, f"{_TIMM}<model>"]


def encoder_spec(name: str) -> EncoderSpec:
    """Find an encoder without loading it.

    Raises:
        UnknownNameError: No encoder has this name; the nearest ones are offered.
        MissingExtraError: A timm encoder, and timm is not installed.
    """
    if name.startswith(_TIMM):
        return timm_encoder.spec(name, name.removeprefix(_TIMM))
    if name not in _SPECS:
        raise UnknownNameError("encoder", name, encoder_names())
    return _SPECS[name]()


def load_encoder(name: str, device: Device = "auto") -> Encoder:
    """Load an encoder by its name.

    Args:
        name: One of `encoder_names`.
        device: ``auto`` takes CUDA where it truly works and the CPU elsewhere.

    Raises:
        UnknownNameError: No encoder has this name.
        MissingExtraError: It needs a package that is not installed.
        DeviceError: ``cuda`` was asked for and is not there.
    """
    return encoder_spec(name).load(device)
