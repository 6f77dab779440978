"""A user's own code as an encoder: ``python:<module>:<factory>``.

The factory takes no arguments and returns an object with the attributes and methods of
`tcssa.encoders.base.Encoder`; it is tried with one black patch before a run begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tcssa.encoders.base import Device, Encoder, EncoderSpec
from tcssa.errors import DeviceError, UsageError
from tcssa.plugins import load_factory

PREFIX = "python:"

_EXPECTED: dict[str, type] = {
    "name": str, "weights_hash": str, "device": str,
    "feature_dim": int, "input_px": int, "batch_size": int,
}  # fmt: skip


def spec(name: str, weights: Path | None = None) -> EncoderSpec:
    """Describe the encoder that a function of the user returns.

    Args:
        name: ``python:<module>:<factory>``.
        weights: Must be None: the code finds its own weights.

    Raises:
        UsageError: ``weights`` were given, there is no such function, or it returns no encoder.
    """
    if weights is not None:
        raise UsageError(f"{name} takes no --weights", hint="let the factory read its own")
    encoder = _checked(name, _factory(name)())

    def load(device: Device) -> Encoder:
        if device not in ("auto", encoder.device):
            raise DeviceError(
                f"{name} runs on {encoder.device}, and --device {device} was asked for",
                hint="leave --device out, or let the factory choose another device",
            )
        return encoder

    trained = tuple(float(mpp) for mpp in getattr(encoder, "trained_mpp", ()))
    return EncoderSpec(encoder.name, encoder.weights_hash, load, trained)


def _factory(name: str) -> Any:
    target = name.removeprefix(PREFIX)
    if not all(target.partition(":")[::2]):
        raise UsageError(f"{name!r} does not name a function", hint="give python:MODULE:FACTORY")
    return load_factory("encoder", target)


def _checked(name: str, encoder: Any) -> Encoder:
    """Check an object's attributes and its features of one patch.

    Raises:
        UsageError: The object is no encoder.
    """
    wrong = [
        f"{attribute} is {value!r}, expected {kind.__name__}"
        for attribute, kind in _EXPECTED.items()
        if not isinstance(value := getattr(encoder, attribute, None), kind) or not value
    ]
    if not callable(getattr(encoder, "encode", None)):
        wrong.append("encode is no method")
    if not wrong:
        side = encoder.input_px
        made = encoder.encode(np.zeros((1, side, side, 3), np.uint8))
        expected = (1, encoder.feature_dim)
        if not isinstance(made, np.ndarray) or made.shape != expected or made.dtype != np.float32:
            found = f"{getattr(made, 'dtype', type(made).__name__)} {getattr(made, 'shape', '')}"
            wrong.append(f"encode made {found} of one patch, expected float32 {expected}")
    if wrong:
        raise UsageError(
            f"{name} returned no encoder: {'; '.join(wrong)}",
            hint="docs/encoders.md shows one that is",
        )
    checked: Encoder = encoder
    return checked
