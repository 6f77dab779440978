"""The share of a GPU's arithmetic that a training uses."""

import pytest
import torch
from vqa_runs import load_tiny_vqa

from tcssa.vqa.training.utilisation import flops_a_token, peak_flops, utilisation


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA T4", None),
    ],
)
def test_peaks_go_by_the_name_of_the_gpu(name: str, peak: float | None) -> None:
    assert peak_flops(name, "bf16") == peak
    assert peak_flops(name, "fp32") is None


def test_it_is_the_stated_formula(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny_vqa(tmp_path_factory.mktemp("run")).model
    model.set_trainable(1)
    a_layer = 64 * 16 * (4 + 2 * 2 + 4) + 3 * 64 * 128 + 2 * 64 + 2 * 16
    weights = 2 * a_layer + 64  # the head is the embedding
    trained = sum(p.numel() for p in model.projector.parameters())
    assert flops_a_token(model) == 4 * weights + 2 * trained
    assert utilisation(10, 1e9, torch.device("cpu"), "bf16", 1) is None
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA A100-SXM4-40GB")
    share = utilisation(10**9, 1e5, torch.device("cuda"), "bf16", 4)
    assert share == pytest.approx(1e14 / (4 * 312e12))
