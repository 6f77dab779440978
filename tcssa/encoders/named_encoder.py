"""Encoders of the catalogue, with their weights."""

from __future__ import annotations

from pathlib import Path

from tcssa.encoders.base import EncoderSpec, Network
from tcssa.encoders.catalogue import Entry
from tcssa.encoders.torch_encoder import torch_spec
from tcssa.encoders.weights import WeightsFile, find
from tcssa.files.checksums import params_hash
from tcssa.optional import require


def spec(entry: Entry, weights: Path | None = None) -> EncoderSpec:
    """Find the weights of an entry of the catalogue and describe its encoder.

    Args:
        entry: The entry.
        weights: The user's own file; None looks in the hub's cache, then on the hub.

    Raises:
        MissingExtraError: The encoder needs a package that is not installed.
        MissingDataError: The weights cannot be found.
    """
    if entry.needs is not None:
        require("timm", extra=entry.needs)
    file = WeightsFile(find(entry.name, entry.source, weights))
    recipe = {"encoder": entry.name, "feature": entry.feature, "content": file.content_hash()}

    def network() -> Network:
        mean, std = entry.pixels
        return Network(
            entry.build(file).eval(), entry.feature_dim, entry.input_px, mean, std,
            entry.gpu_precision,
        )  # fmt: skip

    return torch_spec(entry.name, params_hash(recipe), network, trained_mpp=entry.trained_mpp)
