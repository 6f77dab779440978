"""The encoders that have a name."""

from __future__ import annotations

from collections.abc import Callable

from tcssa.encoders import efficientnet, open_clip_encoder, timm_encoder
from tcssa.encoders.base import Device, Encoder, EncoderSpec
from tcssa.errors import UnknownNameError

_FAMILIES: dict[str, Callable[[str], EncoderSpec]] = {
    timm_encoder.PREFIX: timm_encoder.spec,
    open_clip_encoder.PREFIX: open_clip_encoder.spec,
}
_SPECS: dict[str, Callable[[], EncoderSpec]] = {
    efficientnet.NAME: efficientnet.pretrained_spec,
    efficientnet.RANDOM_NAME: efficientnet.random_spec,
}


def encoder_names() -> list[str]:
    """The names that can be given; ``timm:<model>`` stands for all models of timm."""
    return [*_SPECS, *(f"{prefix}<model>" for prefix in _FAMILIES)]


def encoder_spec(name: str) -> EncoderSpec:
    """Find an encoder without loading it.

    Raises:
        UnknownNameError: No encoder has this name; the nearest ones are offered.
        MissingExtraError: An encoder of timm or open_clip, which is not installed.
    """
    for prefix, family in _FAMILIES.items():
        if name.startswith(prefix):
            return family(name)
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
