"""2DMamba: what it makes of where patches lie."""

import pytest
import torch
from factories import make_features, square
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tcssa.errors import ShapeError, UsageError
from tcssa.mil.methods.grid import PatchGrid, pitch_of
from tcssa.mil.methods.mamba2d import Mamba2D

HOLES = torch.tensor([[0, 0], [3, 0], [1, 2], [2, 2], [5, 1], [1, 0]]) * 512
"""Six patches on a grid of 6 x 3 cells."""


@pytest.fixture(scope="module")
def model() -> Mamba2D:
    torch.manual_seed(0)
    return Mamba2D(16, 3, dim=16, state_dim=4).eval()


@torch.no_grad()
def logits_of(model: Mamba2D, bag: Tensor, coords: Tensor) -> Tensor:
    return model([bag], coords=[coords]).logits[0]


@torch.no_grad()
def test_bags_on_several_grids_have_the_logits_they_have_alone(model: Mamba2D) -> None:
    coords = [HOLES, square(1), square(12), square(6)]
    bags = [make_features(len(at), seed=i) for i, at in enumerate(coords)]
    together = model(bags, coords=coords).logits
    for bag, at, logits in zip(bags, coords, together, strict=True):
        torch.testing.assert_close(logits_of(model, bag, at), logits)


@settings(max_examples=20)
@given(order=st.permutations(range(6)), x=st.integers(0, 9999), unit=st.sampled_from([0.25, 1, 7]))
def test_order_and_where_the_grid_begins_and_its_unit_do_not_matter(
    model: Mamba2D, order: list[int], x: int, unit: float
) -> None:
    bag = make_features(6)
    moved = ((HOLES + torch.tensor([x, 3 * x])) * unit)[order]
    torch.testing.assert_close(
        logits_of(model, bag[order], moved), logits_of(model, bag, HOLES), atol=1e-5, rtol=1e-4
    )


def test_places_matter(model: Mamba2D) -> None:
    bag = make_features(6)
    turned = HOLES.flip(dims=[1])
    assert not torch.allclose(logits_of(model, bag, turned), logits_of(model, bag, HOLES))


@torch.no_grad()
def test_bfloat16_changes_little(model: Mamba2D) -> None:
    bag, coords = make_features(300), square(300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = logits_of(model, bag, coords)
    torch.testing.assert_close(half.float(), logits_of(model, bag, coords), atol=0.02, rtol=0.02)


def test_the_filling_token_learns_where_there_are_holes(model: Mamba2D) -> None:
    model.zero_grad()
    model([make_features(6)], coords=[HOLES]).logits.sum().backward()
    assert model.empty.grad is not None
    assert model.empty.grad.abs().sum() > 0
    model.zero_grad()


def test_bags_without_coords_or_with_others_are_refused(model: Mamba2D) -> None:
    bag = make_features(6)
    with pytest.raises(UsageError, match="where patches lie"):
        model([bag])
    with pytest.raises(ShapeError, match="6 patches, but 5 coords"):
        model([bag], coords=[HOLES[:5]])


def test_a_grid_places_and_reads_and_averages_who_shares_a_cell() -> None:
    coords = torch.tensor([[0.0, 0.0], [256, 0], [256, 512], [260, 0], [516, 0]])
    grid = PatchGrid.of(coords)
    assert (grid.height, grid.width) == (3, 3)
    assert grid.cells.tolist() == [0, 1, 7, 1, 2]
    placed = grid.place(torch.tensor([[1.0], [2], [3], [4], [5]]), torch.tensor([-1.0]))
    assert placed[..., 0].tolist() == [[1, 3, 5], [-1, -1, -1], [-1, 3, -1]]
    assert grid.read(placed)[:, 0].tolist() == [1, 3, 3, 3, 5]


@pytest.mark.parametrize(
    ("corners", "pitch"),
    [
        ([[7, 7]], 1),
        ([[0, 0], [256, 512]], 256),
        ([[0, 0], [224, 0], [448, 0], [896, 0]], 224),
        ([[0, 0], [112.001, 0], [224, 0], [0, 112]], 112),
    ],
)
def test_the_pitch_is_the_commonest_step(corners: list[list[float]], pitch: float) -> None:
    assert pitch_of(torch.tensor(corners, dtype=torch.float64)) == pytest.approx(pitch, abs=0.01)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ([[0.0, 0], [1, 0], [5e6, 5e6]], "more than"),
        ([[0.0, float("nan")]], "NaN"),
        ([[1.0, 2, 3]], r"must be \[N, 2\]"),
    ],
)
def test_corners_that_are_none_say_so(corners: list[list[float]], reason: str) -> None:
    with pytest.raises(ShapeError, match=reason):
        PatchGrid.of(torch.tensor(corners))
