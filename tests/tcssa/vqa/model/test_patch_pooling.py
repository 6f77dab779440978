"""Patches that are summed up without a compressor: by k-means, and merged."""

import torch
from factories import make_features
from torch import Tensor

from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.settings import VisualKind

D = 16


def tokens_of(kind: VisualKind, num_tokens: int, features: Tensor) -> Tensor:
    config = VisualConfig(kind=kind, feature_dim=D, num_tokens=num_tokens)
    return torch.as_tensor(build_visual(config).eval()(features, "s")[0])


def clusters(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Patches in clusters that lie far apart, shuffled, and the centre of each."""
    centres = 20 * torch.eye(D)[: len(sizes)]
    names = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    names = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(0))]
    features = centres[names] + 0.1 * make_features(len(names))
    return features, torch.stack([features[names == k].mean(dim=0) for k in range(len(sizes))])


def test_the_groups_of_k_means_come_by_their_size() -> None:
    features, means = clusters((5, 30, 12))
    assert torch.allclose(tokens_of("kmeans", 3, features), means[[1, 2, 0]], atol=1e-4)


def test_a_slide_of_fewer_distinct_patches_than_groups_is_shown_all_the_same() -> None:
    features = make_features(3).repeat(4, 1)
    tokens = tokens_of("kmeans", 5, features)
    assert tokens.shape == (5, D)
    assert tokens.isfinite().all()


def test_patches_that_are_alike_merge_before_others() -> None:
    features, means = clusters((9, 30, 12))
    distances = torch.cdist(tokens_of("tome", 15, features), means)
    assert (distances.amin(dim=1) < 1).all()
    assert set(distances.argmin(dim=1).tolist()) == {0, 1, 2}


def test_merging_keeps_the_sum_of_all_patches_and_as_many_as_it_was_told() -> None:
    features = make_features(100)
    for num_tokens in (1, 2, 49, 50, 51, 99, 100):
        assert len(tokens_of("tome", num_tokens, features)) == num_tokens
    assert torch.allclose(tokens_of("tome", 1, features)[0], features.mean(dim=0), atol=1e-5)


def test_one_merge_is_of_the_most_similar_pair() -> None:
    features = make_features(8)
    features[5] = 1.001 * features[2]
    tokens = tokens_of("tome", 7, features)
    kept = torch.cat([features[:2], (features[[2]] + features[[5]]) / 2, features[[3, 4, 6, 7]]])
    assert torch.allclose(tokens, kept)
