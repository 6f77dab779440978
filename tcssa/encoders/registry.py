"""The encoders that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tcssa.encoders import (
    efficientnet,
    hf_encoder,
    named_encoder,
    onnx_file,
    open_clip_encoder,
    python_encoder,
    timm_encoder,
)
from tcssa.encoders.base import Device, Encoder, EncoderSpec
from tcssa.encoders.catalogue import ENTRIES
from tcssa.encoders.weights import cached
from tcssa.errors import UnknownNameError, UsageError

_FAMILIES: dict[str, tuple[Callable[[str, Path | None], EncoderSpec], str]] = {
    timm_encoder.PREFIX: (timm_encoder.spec, "<model>"),
    open_clip_encoder.PREFIX: (open_clip_encoder.spec, "<model>/<weights>"),
    hf_encoder.PREFIX: (hf_encoder.spec, "<repository>"),
    onnx_file.PREFIX: (onnx_file.spec, "<file>"),
    python_encoder.PREFIX: (python_encoder.spec, "<module>:<factory>"),
}
_EMBEDDED: dict[str, Callable[[], EncoderSpec]] = {
    efficientnet.NAME: efficientnet.pretrained_spec,
    efficientnet.RANDOM_NAME: efficientnet.random_spec,
}


@dataclass(frozen=True)
class EncoderFacts:
    """Facts about an encoder that are known without loading it."""

    name: str
    feature_dim: int
    feature: str
    input_px: int
    trained_mpp: tuple[float, ...]
    licence: str
    gated: bool
    needs: str | None
    """The extra of tcssa that it needs."""
    repo: str | None
    """Repository of its weights; None if they are installed with tcssa."""
    files: tuple[str, ...]
    """Published files, any of which can be given as ``--weights``."""
    is_here: bool
    """Whether the weights are on this machine."""


def encoder_names() -> list[str]:
    """List the names of encoders; ``timm:<model>`` stands for all models of timm."""
    families = [prefix + what for prefix, (_, what) in _FAMILIES.items()]
    return [*_EMBEDDED, *ENTRIES, *families]


def list_encoders() -> list[EncoderFacts]:
    """List the encoders that are installed with tcssa and those of the catalogue."""
    embedded = [
        EncoderFacts(
            name, efficientnet.FEATURE_DIM, "mean of the last stage", efficientnet.INPUT_PX, (),
            "Apache-2.0", False, None, None, (), True,
        )
        for name in _EMBEDDED
    ]  # fmt: skip
    return embedded + [
        EncoderFacts(
            entry.name, entry.feature_dim, entry.feature, entry.input_px, entry.trained_mpp,
            entry.source.licence, entry.source.gated, entry.needs, entry.source.repo,
            entry.source.files, cached(entry.source) is not None,
        )
        for entry in ENTRIES.values()
    ]  # fmt: skip


def is_encoder_name(name: str) -> bool:
    """Tell whether a name is one of an encoder, or begins as those of a family do."""
    return name in _EMBEDDED or name in ENTRIES or name.startswith(tuple(_FAMILIES))


def encoder_spec(name: str, weights: Path | None = None) -> EncoderSpec:
    """Find an encoder without loading it.

    Args:
        name: One of `encoder_names`.
        weights: The user's own file of weights, for encoders that take one.

    Raises:
        UnknownNameError: No encoder has this name; the error suggests the nearest ones.
        MissingExtraError: The encoder needs a package that is not installed.
        MissingDataError: Its weights cannot be found; the error says where to ask for them.
        UsageError: ``weights`` were given to an encoder that takes none.
    """
    for prefix, (family, _) in _FAMILIES.items():
        if name.startswith(prefix):
            return family(name, weights)
    if name in ENTRIES:
        return named_encoder.spec(ENTRIES[name], weights)
    if name not in _EMBEDDED:
        raise UnknownNameError("encoder", name, encoder_names())
    if weights is not None:
        raise UsageError(f"{name} has its weights and takes no --weights")
    return _EMBEDDED[name]()


def load_encoder(name: str, device: Device = "auto", weights: Path | None = None) -> Encoder:
    """Load an encoder by its name.

    Args:
        name: One of `encoder_names`.
        device: ``auto`` uses CUDA where it works and the CPU elsewhere.
        weights: The user's own file of weights.

    Raises:
        DeviceError: ``device`` is ``cuda`` and CUDA is not available.
        TcssaError: The encoder cannot be found; see `encoder_spec`.
    """
    return encoder_spec(name, weights).load(device)
