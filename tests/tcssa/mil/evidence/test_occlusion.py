"""Blocks of patches that are occluded together."""

import torch

from tcssa.mil.evidence.occlusion import MOST_BLOCKS, blocks


def test_every_patch_is_in_one_block_of_nearly_equal_size() -> None:
    bag = torch.zeros(1000, 2)
    coords = torch.rand(1000, 2, generator=torch.Generator().manual_seed(1)) * 5000
    for at in (coords, None):
        found = blocks(bag, at)
        assert len(found) == MOST_BLOCKS
        assert sorted(torch.cat(found).tolist()) == list(range(1000))
        assert {len(block) for block in found} <= {7, 8}


def test_patches_of_a_block_lie_together() -> None:
    side = 32
    coords = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float()
    shuffled = coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(2))]
    for block in blocks(torch.zeros(len(coords), 1), shuffled):
        extent = shuffled[block].amax(dim=0) - shuffled[block].amin(dim=0)
        assert extent.prod() <= 4  # 8 patches: 2 by 4
