"""Each method against outputs of its published implementation (../shared/golden/mil)."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from shared_data import require_shared
from torch import Tensor

from tcssa.mil.methods import build_method
from tcssa.mil.methods.clam import CLAM
from tcssa.mil.methods.dsmil import DSMIL
from tcssa.mil.methods.published import from_published

TOLERANCE = 1e-4
METHODS = ["abmilx", "clam_mb", "clam_sb", "dsmil", "rrt", "transmil"]


def weights(path: Path) -> dict[str, Tensor]:
    """The published model's weights, each drawn from its own name (FORMATS.md)."""
    with safe_open(path, framework="pt") as stream:
        shapes: dict[str, list[int]] = json.loads(stream.metadata()["parameters"])
    drawn = {}
    for name, shape in shapes.items():
        weight = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            weight = weight / np.sqrt(np.prod(shape[1:]))
        elif "norm" in name.lower() and name.endswith("weight"):
            weight = 1 + 0.1 * weight
        else:
            weight = 0.1 * weight
        drawn[name] = torch.from_numpy(weight.astype(np.float32))
    return drawn


def tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("num_patches", [60, 300])
@pytest.mark.parametrize("name", METHODS)
def test_outputs_are_the_published_ones(name: str, num_patches: int) -> None:
    path = require_shared(f"golden/mil/{name}_n{num_patches}.safetensors")
    golden = tensors(path)
    bag = golden["features"][0]
    model = build_method(name, 32, 3).eval()
    model.load_state_dict(from_published(name, weights(path), path))
    with torch.no_grad():
        output = model([bag], torch.tensor([1]))
        if isinstance(model, DSMIL):
            streams = model.streams(bag)
            assert_close(torch.stack(list(streams)), golden["logits"])
            assert_close(output.logits[0], golden["logits"].mean(dim=0))
            return
        assert_close(output.logits, golden["logits"])
        if isinstance(model, CLAM):
            assert_close(model.attention(model.embed(bag)), golden["attention_raw"])
            assert output.extra_loss is not None
            assert_close(output.extra_loss.reshape(1), golden["instance_loss"])
