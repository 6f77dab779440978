"""Pictures of one fold and of several are laid out without a complaint of matplotlib's."""

from pathlib import Path

import pytest
import torch
from slot_runs import patches_of, planted_model, slide_of

from tcssa.mil.slots import plots
from tcssa.mil.slots.ablation import ablation_of
from tcssa.mil.slots.association import association_of
from tcssa.mil.slots.routed import RoutedSlide, route
from tcssa.mil.slots.utilisation import cosine_of, use_of


@pytest.mark.parametrize("num_folds", [1, 2, 5])
def test_every_picture_of_so_many_folds(num_folds: int, tmp_path: Path) -> None:
    folds: list[list[RoutedSlide]] = [
        [
            route(
                planted_model(seed=fold),
                torch.from_numpy(patches_of([3, 2 + label, 1, fold % 2], seed)),
                slide_of(f"s{seed}", label),
                fold,
            )
            for seed, label in enumerate([0, 1, 0, 1])
        ]
        for fold in range(num_folds)
    ]
    plots.plot_use(tmp_path / "use.png", [use_of(fold) for fold in folds])
    plots.plot_cosine(tmp_path / "cosine.png", [cosine_of(fold) for fold in folds])
    associations = [association_of(fold, 2) for fold in folds]
    plots.plot_association(tmp_path / "association.png", associations, ["a", "b"])
    plots.plot_ablation(tmp_path / "ablation.png", [ablation_of(fold) for fold in folds])
    assert len(list(tmp_path.glob("*.png"))) == 4
