"""Models and bags made on the spot."""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from tcssa import CompressorConfig, SlotCompressor


def make_compressor(
    feature_dim: int = 16,
    num_slots: int = 6,
    top_k: int = 2,
    seed: int = 0,
    *,
    salience: bool = False,
    nested: bool = False,
    spatial: bool = False,
    embedded_from: int | None = None,
) -> SlotCompressor:
    """A small compressor with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    config = CompressorConfig(
        feature_dim=feature_dim,
        num_slots=num_slots,
        top_k=top_k,
        hidden_dim=8,
        salience=salience,
        nested=nested,
        spatial=spatial,
        embedded_from=embedded_from,
    )
    model = SlotCompressor(config)
    if model.places is not None:
        nn.init.normal_(model.places.weight, std=0.5)
    if model.router.salience is not None:
        nn.init.normal_(model.router.salience.weight, std=feature_dim**-0.5)
        nn.init.constant_(model.router.salience.bias, 0.3)
    return model.eval()


def make_features(num_patches: int, feature_dim: int = 16, seed: int = 0) -> Tensor:
    """Normal patch features [N, D]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_patches, feature_dim, generator=generator)


def square(num_patches: int, pitch: int = 224) -> Tensor:
    """Corners [N, 2] of patches that fill a square row by row."""
    side = max(int(num_patches**0.5), 1)
    at = torch.arange(num_patches)
    return torch.stack([at % side, at // side], dim=1) * pitch


def write_bag(
    path: Path,
    num_patches: int = 20,
    feature_dim: int = 16,
    seed: int = 0,
    shift: float = 0.0,
    encoder: str = "test_encoder",
) -> Path:
    """One slide's features in the TRIDENT layout; ``shift`` moves every second feature."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_patches, feature_dim)).astype(np.float32)
    features[:, ::2] += shift
    columns = max(int(np.sqrt(num_patches)), 1)
    rows, cols = np.divmod(np.arange(num_patches), columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("features", data=features)
        dataset.attrs["encoder"] = encoder
        coords = file.create_dataset("coords", data=np.stack([cols, rows], axis=1) * 224)
        coords.attrs["patch_size_level0"] = 224
    return path


def reference_state(model: SlotCompressor, prefix: str) -> dict[str, torch.Tensor]:
    """The reference's spelling of a compressor's weights."""
    experts, gate = model.experts, model.router.gate
    state = {f"{prefix}gate.weight": gate.weight, f"{prefix}gate.bias": gate.bias}
    for k in range(model.config.num_slots):
        state |= {
            f"{prefix}experts.{k}.net.0.weight": experts.w_in[k].T,
            f"{prefix}experts.{k}.net.0.bias": experts.b_in[k, 0],
            f"{prefix}experts.{k}.net.3.weight": experts.w_out[k].T,
            f"{prefix}experts.{k}.net.3.bias": experts.b_out[k, 0],
            f"{prefix}experts.{k}.net.4.weight": experts.norm_weight[k, 0],
            f"{prefix}experts.{k}.net.4.bias": experts.norm_bias[k, 0],
        }
    return {name: value.detach().clone() for name, value in state.items()}
