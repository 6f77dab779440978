"""RRT-MIL's regions: squares of neighbours; those without a patch are only counted."""

import pytest
import torch
from factories import make_features

from tcssa.mil.methods.regions import Regions
from tcssa.mil.methods.rrt import RRTMIL


@pytest.mark.parametrize("length", [1, 5, 11, 64, 65, 300])
def test_regions_are_squares_of_neighbours_and_join_again(length: int) -> None:
    tokens = torch.arange(1, length + 1).float().unsqueeze(1)
    regions = Regions.of(length, per_side=4)
    cut = regions.cut(tokens)
    assert cut.shape == (regions.num_kept, regions.size**2, 1)
    assert torch.equal(regions.join(cut), tokens)
    image = torch.zeros(regions.side**2)
    image[:length] = tokens[:, 0]
    image = image.reshape(4, regions.size, 4, regions.size).transpose(1, 2).flatten(0, 1)
    assert torch.equal(cut[:, :, 0], image.flatten(1)[: regions.num_kept])
    assert [bool(region.any()) for region in image] == (
        [True] * regions.num_kept + [False] * regions.num_empty
    )


@pytest.mark.parametrize("length", [3, 20, 70])
def test_a_region_without_patches_counts_as_often_as_there_are(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RRTMIL(16, 2, dim=32, num_heads=4, regions_per_side=4).double().eval()
    bag = make_features(length).double()
    short = model.classify(bag)
    assert Regions.of(length, 4).num_empty
    monkeypatch.setattr(Regions, "num_kept", property(lambda self: self.per_side**2))
    torch.testing.assert_close(short, model.classify(bag))
