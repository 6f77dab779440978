"""The two-dimensional selective scan against its recurrence, cell by cell."""

import pytest
import torch
from torch import Tensor

from tcssa.mil.methods.scan import recurrence, selective_scan_2d

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def make_inputs(height: int, width: int, channels: int = 3, states: int = 2) -> Inputs:
    """x, delta, a, b, c in float64, all of them to be differentiated."""
    generator = torch.Generator().manual_seed(height * 100 + width)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(height, width, channels)
    delta = normal(height, width, channels).exp()
    a = -normal(channels, states).exp()
    b, c = normal(height, width, states), normal(height, width, states)
    return tuple(value.requires_grad_() for value in (x, delta, a, b, c))  # type: ignore[return-value]


def naive(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The recurrence as the paper writes it, a cell at a time."""
    height, width, _ = x.shape
    along: dict[tuple[int, int], Tensor] = {}
    state: dict[tuple[int, int], Tensor] = {}
    rows = []
    for i in range(height):
        row = []
        for j in range(width):
            decay = torch.exp(delta[i, j][:, None] * a)
            entering = delta[i, j][:, None] * b[i, j][None] * x[i, j][:, None]
            along[i, j] = entering + (decay * along[i, j - 1] if j else 0)
            state[i, j] = along[i, j] + (decay * state[i - 1, j] if i else 0)
            row.append((state[i, j] * c[i, j]).sum(dim=1))
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("most_states", [1, 2**22], ids=["channels apart", "all at once"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 1), (4, 7)])
def test_values_and_gradients_are_those_of_the_recurrence(
    height: int, width: int, most_states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcssa.mil.methods.scan._MOST_STATES", most_states)
    inputs = make_inputs(height, width)
    found, expected = selective_scan_2d(*inputs), naive(*inputs)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        # of a single cell nothing decays, so the loop above never looks at a
        torch.autograd.grad((expected * weights).sum(), inputs, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("most_states", [1, 2**22], ids=["channels apart", "all at once"])
def test_gradients_are_the_slopes(most_states: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcssa.mil.methods.scan._MOST_STATES", most_states)
    assert torch.autograd.gradcheck(selective_scan_2d, make_inputs(3, 4, channels=2))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_a_recurrence_has_the_right_slopes_along_each_dimension(dim: int) -> None:
    decay, inputs = torch.rand(2, 3, 4, 2, dtype=torch.float64, requires_grad=True).unbind()
    assert torch.autograd.gradcheck(lambda a, b: recurrence(a, b, dim), (decay, inputs))


def test_a_cell_sees_all_cells_above_and_left_of_it_and_no_other() -> None:
    inputs = make_inputs(5, 6)
    (seen,) = torch.autograd.grad(selective_scan_2d(*inputs)[3, 2].sum(), inputs[0])
    inside = torch.zeros(5, 6, dtype=torch.bool)
    inside[:4, :3] = True
    assert torch.equal((seen != 0).any(dim=2), inside)


def test_decays_that_vanish_and_long_lines_stay_finite() -> None:
    x = torch.ones(2, 3000, 1, requires_grad=True)
    delta = torch.tensor([1e-3, 200.0]).repeat(1500).expand(2, 3000)[..., None].contiguous()
    one = torch.ones(2, 3000, 1)
    y = selective_scan_2d(x, delta, -torch.ones(1, 1), one, one)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
