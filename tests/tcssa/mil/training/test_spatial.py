"""Training with places: labels that only the arrangement of patches tells."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from cohorts import small_run

from tcssa.compressor import load_compressor
from tcssa.errors import MissingDataError, RunError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings
from tcssa.mil.slots.inspect import inspect_slots
from tcssa.mil.training.train import train
from tcssa.reporter import Silent

SIDE = 8
PITCH_PX = 1000


def write_arranged(folder: Path, *, mpp: float | None = 0.5) -> CohortSettings:
    """Slides of two tissues, as much of both: in halves, or mixed."""
    rows = ["case_id,slide_id,label"]
    for i in range(24):
        rng, together = np.random.default_rng(i), i % 2 == 0
        tissue = np.repeat([0, 1], SIDE**2 // 2)
        if not together:
            tissue = rng.permutation(tissue)
        features = rng.normal(size=(SIDE**2, 16)) + 4 * tissue[:, None]
        coords = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=1) * PITCH_PX
        path = folder / "features" / f"s{i:02d}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"] = features.astype(np.float32)
            file["coords"] = coords + rng.integers(0, 10**5, 2)
            file["coords"].attrs["patch_size_level0"] = 224
            if mpp is not None:
                file["coords"].attrs["mpp_level0"] = mpp
        rows.append(f"p{i:02d},s{i:02d},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return CohortSettings(labels=folder / "labels.csv", features=folder / "features")


def arranged_run(folder: Path, *, nested: bool = False, **cohort: object) -> MilSettings:
    settings = small_run(write_arranged(folder, **cohort), epochs=10, patience=10)
    model = ModelSettings(
        num_slots=8 if nested else 4, hidden_dim=8, head_dim=8, spatial="moments", nested=nested
    )
    return settings.model_copy(update={"model": model})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> MilSettings:
    """Settings of a run that lies beside its features; only to be read."""
    folder = tmp_path_factory.mktemp("arranged")
    settings = arranged_run(folder)
    train(settings, folder / "run", Silent())
    return settings


def folder_of(settings: MilSettings) -> Path:
    assert settings.cohort.labels is not None
    return settings.cohort.labels.parent


def test_an_arrangement_is_learnt_and_evaluated(trained: MilSettings) -> None:
    run = folder_of(trained) / "run"
    auc = read_metrics(run).pooled["auc"]["value"]
    assert auc > 0.9
    assert load_compressor(run).config.spatial
    again = evaluate(run, Silent()).metrics
    assert again["pooled"]["auc"]["value"] == pytest.approx(auc)


def test_it_is_learnt_for_fewer_slots_too(tmp_path: Path) -> None:
    metrics = train(arranged_run(tmp_path, nested=True), tmp_path / "run", Silent())
    assert metrics.pooled["auc"]["value"] > 0.9


def test_without_places_it_is_not(tmp_path: Path) -> None:
    settings = arranged_run(tmp_path)
    blind = settings.model.model_copy(update={"spatial": None})
    metrics = train(settings.model_copy(update={"model": blind}), tmp_path / "run", Silent())
    assert metrics.pooled["auc"]["value"] < 0.8


def test_slides_without_a_resolution_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"24 of 24 slides do not say how many µm.*s00, s01"):
        train(arranged_run(tmp_path, mpp=None), tmp_path / "run", Silent())


def test_slots_of_a_model_with_places_are_inspected(trained: MilSettings, tmp_path: Path) -> None:
    run = folder_of(trained) / "run"
    assert len(inspect_slots(run, tmp_path / "slots", Silent()).slides) == 24
    model = load_classifier(run / "fold-0" / "checkpoint.safetensors")
    assert model.reads_coords
    store, slides = BagStore(10**9), read_cohort(trained.cohort).slides[:2]
    bags = [store.get(slide) for slide in slides]
    seen = model(bags, coords=[store.coords(slide) for slide in slides]).logits
    moved = model(bags, coords=[store.coords(slide) + 500 for slide in slides]).logits
    np.testing.assert_allclose(seen.detach(), moved.detach(), atol=1e-5)


def test_another_resolution_is_another_cohort(trained: MilSettings, tmp_path: Path) -> None:
    for name in ("run", "features", "labels.csv"):
        source = folder_of(trained) / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    write_arranged(tmp_path, mpp=0.25)
    cohort = CohortSettings(labels=tmp_path / "labels.csv", features=tmp_path / "features")
    again = trained.model_copy(update={"cohort": cohort})
    with pytest.raises(RunError, match="places_hash"):
        train(again, tmp_path / "run", Silent())
