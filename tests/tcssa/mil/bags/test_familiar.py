"""Patches like those of training, and patches unlike them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cohorts import write_cohort
from torch import Tensor

from tcssa.errors import CheckpointError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.bags.familiar import FAMILIAR_FILE, Familiar
from tcssa.mil.cohort.cohort import CohortSlide, read_cohort


@pytest.fixture(scope="module")
def familiar(tmp_path_factory: pytest.TempPathFactory) -> Familiar:
    cohort = read_cohort(write_cohort(tmp_path_factory.mktemp("cohort")))
    return Familiar.of(cohort.slides, BagStore(0), seed=0)


def test_one_patch_in_a_hundred_of_the_same_kind_is_unlike(familiar: Familiar) -> None:
    rng = np.random.default_rng(1)
    patches = rng.standard_normal((4000, 16)).astype(np.float32)
    patches[:2000, ::2] += 0.9
    assert 0.002 < familiar.unlike(patches) < 0.04


def test_patches_that_are_shifted_or_scaled_are_unlike(familiar: Familiar) -> None:
    patches = np.random.default_rng(1).standard_normal((300, 16)).astype(np.float16)
    assert familiar.unlike(patches + np.float16(4)) == 1
    assert familiar.unlike(patches * np.float16(3)) > 0.9


def test_a_feature_that_is_constant_in_training_is_no_division_by_zero(tmp_path: Path) -> None:
    flat = Familiar.of(read_cohort(write_cohort(tmp_path)).slides, _Flat(0), seed=0)
    patches = np.random.default_rng(1).standard_normal((300, 16)).astype(np.float32)
    patches[:, 3] = 2.0
    assert flat.unlike(patches) < 0.1
    patches[:, 3] = 2.1
    assert flat.unlike(patches) == 1


class _Flat(BagStore):
    """A store whose fourth feature is always 2."""

    def sample(
        self, slides: Sequence[CohortSlide], num_patches: int, rng: np.random.Generator
    ) -> tuple[Tensor, list[tuple[str, int]]]:
        drawn, origins = super().sample(slides, num_patches, rng)
        drawn[:, 3] = 2.0
        return drawn, origins


def test_the_statistic_comes_back_from_the_run(familiar: Familiar, tmp_path: Path) -> None:
    assert Familiar.read(tmp_path, 16) is None
    familiar.save(tmp_path)
    back = Familiar.read(tmp_path, 16)
    assert back is not None
    patches = np.random.default_rng(2).standard_normal((500, 16)).astype(np.float32) * 1.5
    assert back.unlike(patches) == familiar.unlike(patches) > 0
    with pytest.raises(CheckpointError, match="not of 12 features"):
        Familiar.read(tmp_path, 12)
    (tmp_path / FAMILIAR_FILE).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError):
        Familiar.read(tmp_path, 16)
