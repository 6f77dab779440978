"""The projector, ours and the reference's."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tcssa.errors import CheckpointError
from tcssa.vqa.model.projector import Projector, ProjectorConfig


def make_projector() -> Projector:
    torch.manual_seed(0)
    return Projector(ProjectorConfig(feature_dim=16, hidden_dim=24, token_dim=12)).eval()


def test_it_is_linear_gelu_linear() -> None:
    model, slots = make_projector(), torch.randn(3, 6, 16)
    first, _, second = model.proj
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    hidden = slots @ first.weight.T + first.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(model(slots), gelu @ second.weight.T + second.bias)


def test_it_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = make_projector()
    model.save(tmp_path / "projector.safetensors")
    loaded = Projector.load(tmp_path / "projector.safetensors")
    assert loaded.config == model.config
    assert not loaded.training
    slots = torch.randn(2, 16)
    assert torch.equal(loaded(slots), model(slots))


def test_the_reference_s_file_loads(tmp_path: Path) -> None:
    model = make_projector()
    torch.save(model.state_dict(), tmp_path / "projector.pt")
    assert set(model.state_dict()) == {f"proj.{i}.{k}" for i in (0, 2) for k in ("weight", "bias")}
    loaded = Projector.load(tmp_path / "projector.pt")
    assert loaded.config == model.config
    slots = torch.randn(2, 16)
    assert torch.equal(loaded(slots), model(slots))


@pytest.mark.parametrize("name", ["other.safetensors", "other.pt"])
def test_another_file_is_refused(tmp_path: Path, name: str) -> None:
    from tcssa.compressor.checkpoint import write_tensors

    if name.endswith(".pt"):
        torch.save({"weight": torch.ones(2, 2)}, tmp_path / name)
    else:
        write_tensors(tmp_path / name, {"weight": torch.ones(2, 2)}, {})
    with pytest.raises(CheckpointError, match="holds no projector"):
        Projector.load(tmp_path / name)


@pytest.mark.parametrize(
    "weight", [torch.ones(2), torch.tensor(1.0), torch.ones(24, 16, 1), torch.ones(24, 0)], ids=str
)
def test_a_reference_file_of_other_shapes_is_refused(tmp_path: Path, weight: torch.Tensor) -> None:
    for name in ("proj.0.weight", "proj.2.weight"):
        torch.save(make_projector().state_dict() | {name: weight}, tmp_path / "projector.pt")
        with pytest.raises(CheckpointError, match=r"projector\.pt"):
            Projector.load(tmp_path / "projector.pt")


@pytest.mark.parametrize("shape", [None, {}, {"feature_dim": 10**9, "token_dim": 12}, [1]], ids=str)
def test_a_shape_that_the_tensors_do_not_have_is_refused(tmp_path: Path, shape: object) -> None:
    from tcssa.compressor.checkpoint import write_tensors

    write_tensors(tmp_path / "p.safetensors", make_projector().state_dict(), {"projector": shape})
    with pytest.raises(CheckpointError, match=r"p\.safetensors"):
        Projector.load(tmp_path / "p.safetensors")
