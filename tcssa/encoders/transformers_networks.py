"""Networks of the catalogue that transformers builds, with the weights of their authors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tcssa.encoders.weights import State, WeightsFile
from tcssa.errors import CheckpointError, one_line
from tcssa.files.text import read_json

_NOT_NEEDED = re.compile(r"(pooler\.|.*\bmask_token$)")


class Readout(nn.Module):
    """A transformers vision model whose tokens become one feature.

    Args:
        model: The model.
        readout: The class token, the class token beside the mean of the patch tokens, or the
            model's own pooled output.
        num_prefix: Number of leading tokens that are no patches.
    """

    def __init__(
        self,
        model: nn.Module,
        readout: Literal["class", "class and mean", "pooled"],
        num_prefix: int = 1,
    ) -> None:
        super().__init__()
        self.model, self.readout, self.num_prefix = model, readout, num_prefix

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels [B, 3, H, W] into features [B, D]."""
        output = self.model(pixel_values=pixels)
        if self.readout == "pooled":
            pooled: Tensor = output.pooler_output.flatten(1)
            return pooled
        tokens: Tensor = output.last_hidden_state
        if self.readout == "class":
            return tokens[:, 0]
        return torch.cat([tokens[:, 0], tokens[:, self.num_prefix :].mean(1)], dim=-1)


def vision_transformer(
    weights: WeightsFile,
    *,
    model: Literal["ViT", "Dinov2", "Dinov2WithRegisters"],
    readout: Literal["class", "class and mean"] = "class",
    **config: Any,  # of transformers' own
) -> nn.Module:
    """Build a vision transformer of transformers, under the names its authors saved it with.

    A ``config.json`` beside the file takes precedence over the catalogue, and the file's own
    position embedding over both.

    Args:
        weights: The file of weights.
        model: The class, by the first part of its name.
        readout: The tokens that become the feature.
        **config: The configuration, where it differs from the class's default.

    Raises:
        CheckpointError: The file or its configuration belongs to another network.
    """
    import transformers

    state = weights.read()
    settings = config | _stated(weights, config) | _picture_side(state, config)
    made = getattr(transformers, f"{model}Config")(**settings)
    kind = getattr(transformers, f"{model}Model")
    options = {"add_pooling_layer": False} if model == "ViT" else {}
    with quiet():
        try:
            network, report = kind.from_pretrained(
                None, config=made, state_dict=state, output_loading_info=True, **options
            )
        except RuntimeError as error:  # tensors of another shape
            raise _another_network(weights, one_line(error)) from None
    faults = [
        f"{len(names)} tensors are {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for kind in ("missing", "unexpected")
        if (names := sorted(n for n in report[f"{kind}_keys"] if not _NOT_NEEDED.match(n)))
    ]
    if faults:
        raise _another_network(weights, "; ".join(faults))
    return Readout(network.float(), readout, 1 + getattr(made, "num_register_tokens", 0))


def _another_network(weights: WeightsFile, reason: str) -> CheckpointError:
    return CheckpointError(
        weights.path,
        f"these are the weights of another network: {reason}",
        hint="give the file that belongs to this encoder; tcssa encoders names each one's",
    )


def _stated(weights: WeightsFile, config: dict[str, Any]) -> dict[str, Any]:
    """Read the settings named in ``config`` from the configuration beside the file."""
    if weights.config_path is None:
        return {}
    path = weights.config_path
    stated = read_json(path, CheckpointError, top=dict)
    found = {name: stated[name] for name in config if name in stated}
    for name, value in found.items():
        if type(value) is not type(config[name]):
            wanted = type(config[name]).__name__
            raise CheckpointError(path, f"{name} is {str(value)[:40]!r}, expected {wanted}")
    return found


def _picture_side(state: State, config: dict[str, Any]) -> dict[str, int]:
    """Return the picture's side that the stored position embedding was trained for."""
    for name, value in state.items():
        if name.endswith("embeddings.position_embeddings"):
            return {"image_size": isqrt(value.shape[1] - 1) * int(config["patch_size"])}
    return {}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and the report of transformers; the report is read instead."""
    from transformers.utils import logging

    talk: Any = logging  # transformers does not type its logging
    shown, level = talk.is_progress_bar_enabled(), talk.get_verbosity()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if shown:
            talk.enable_progress_bar()
