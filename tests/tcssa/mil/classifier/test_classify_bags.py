"""Methods that read where patches lie, in a whole run; and the option of an embedding."""

from pathlib import Path

import h5py
import pytest
from cohorts import small_run, write_cohort

from tcssa import load_compressor
from tcssa.errors import FeatureFileError, MissingDataError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


def small(cohort: CohortSettings, epochs: int, **model: object) -> MilSettings:
    """A short run with another model."""
    settings = small_run(cohort, epochs=epochs)
    return settings.model_copy(update={"model": ModelSettings.model_validate(model)})


def drop_coords(features: Path, *names: str) -> None:
    for name in names:
        with h5py.File(features / f"{name}.h5", "a") as file:
            del file["coords"]


def test_2dmamba_trains_on_coords_and_is_evaluated(tmp_path: Path) -> None:
    settings = small(write_cohort(tmp_path), epochs=2, name="2dmamba")
    metrics = train(settings, tmp_path / "run", Silent())
    assert metrics.pooled["auc"]["value"] > 0.9
    again = evaluate(tmp_path / "run", Silent())
    assert again.metrics["pooled"]["auc"] == metrics.pooled["auc"]


def test_slides_without_coords_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    drop_coords(tmp_path / "features", "s03", "s07")
    with pytest.raises(MissingDataError, match=r"2 of 18 slides have no coords: s03, s07$"):
        train(small(cohort, 1, name="2dmamba"), tmp_path / "run", Silent())
    assert not list((tmp_path / "run").glob("**/*.safetensors"))
    train(small(cohort, 1, name="abmil"), tmp_path / "other", Silent())  # which has no need of them


def test_a_store_reads_coords_and_says_which_file_has_none(tmp_path: Path) -> None:
    slides = read_cohort(write_cohort(tmp_path)).slides
    assert BagStore(0).coords(slides[0])[:6].tolist() == [
        [0, 0], [224, 0], [448, 0], [672, 0], [0, 224], [224, 224],
    ]  # fmt: skip
    drop_coords(tmp_path / "features", "s00")
    with pytest.raises(FeatureFileError, match=r"s00\.h5"):
        BagStore(0).coords(slides[0])


def test_an_embedding_trains_is_evaluated_and_gives_its_compressor(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    shape = {"num_slots": 4, "hidden_dim": 8, "head_dim": 8, "embed_dim": 12}
    settings = small(cohort, epochs=12, **shape)
    metrics = train(settings, tmp_path / "run", Silent())
    assert metrics.pooled["auc"]["value"] > 0.9
    assert metrics.folds[0].effective_slots is not None
    again = evaluate(tmp_path / "run", Silent())
    assert again.metrics["pooled"]["auc"] == metrics.pooled["auc"]
    config = load_compressor(tmp_path / "run").config
    assert (config.patch_dim, config.feature_dim) == (16, 12)
