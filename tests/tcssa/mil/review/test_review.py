"""The review of a run's test on its page: table, pictures, evidence."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
from cohorts import small_run, write_cohort, write_patients
from factories import square
from html_pages import read_page
from PIL import Image

from tcssa.errors import UsageError
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, MilSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


def placed_cohort(folder: Path) -> CohortSettings:
    """Slides of noise, whose features say where their patches lie but for one slide."""
    return with_places(write_cohort(folder, num_slides=12, shift=0.0))


def with_places(cohort: CohortSettings) -> CohortSettings:
    """Say where the patches of all slides but the first lie."""
    assert cohort.features is not None
    for path in sorted(cohort.features.glob("*.h5"))[1:]:
        with h5py.File(path, "r+") as file:
            if "coords" in file:
                del file["coords"]
            coords = file.create_dataset("coords", data=square(len(file["features"])).numpy())
            coords.attrs["patch_size_level0"] = 224
    return cohort


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[MilSettings, Path]:
    """A run that errs, since there is nothing to learn."""
    folder = tmp_path_factory.mktemp("cohort")
    settings = small_run(placed_cohort(folder), epochs=1, final="none", class_weights="balanced")
    train(settings, folder / "run", Silent())
    return settings, folder / "run"


def wrong_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "wrong.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_page_shows_wrong_slides_beside_their_evidence(run: tuple[MilSettings, Path]) -> None:
    wrong = wrong_of(run[1])
    confusion = read_metrics(run[1]).pooled["confusion"]
    assert len(wrong) == confusion[0][1] + confusion[1][0] > 0
    page = read_page(run[1] / "report.html")
    for row in wrong:
        cells = [row["slide_id"], row["label"], row["predicted"]]
        assert any(found[:3] == cells for found in page.cells)
        if row["slide_id"] != "s00":
            with Image.open(run[1] / row["map"]) as picture:
                saturation = np.asarray(picture.convert("HSV"))[..., 1]
            middle = saturation.shape[1] // 2  # left of it the grey grid, right of it evidence
            assert saturation[:, : middle - 8].max() < 40 < saturation[:, middle + 8 :].max()
    assert f"{len(wrong)} of 12 predictions, the most confident first" in page.text


def test_eval_reviews_its_own_predictions(run: tuple[MilSettings, Path], tmp_path: Path) -> None:
    done = evaluate(run[1], Silent(), out=tmp_path / "eval")
    assert wrong_of(done.folder) == wrong_of(run[1])
    assert "Wrongly classified" in read_page(done.folder / "report.html").text


def test_the_class_weights_and_the_threshold_are_of_the_run(run: tuple[MilSettings, Path]) -> None:
    text = (run[1] / "config.resolved.yaml").read_text()
    assert "class_weights: balanced" in text
    assert "threshold: youden" in text


def test_a_threshold_without_two_classes_is_refused(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text().replace("s00,a", "s00,c").replace("s02,a", "s02,c"))
    settings = small_run(cohort, threshold="0.4")
    with pytest.raises(UsageError, match="--threshold is of two classes, and the labels are"):
        train(settings, tmp_path / "run", Silent())
    assert not (tmp_path / "run").exists()


def test_evidence_that_takes_occlusion_is_left_to_heatmap(tmp_path: Path) -> None:
    settings = small_run(placed_cohort(tmp_path), epochs=1, final="none")
    method = settings.model.model_copy(update={"name": "transmil"})
    train(settings.model_copy(update={"model": method}), tmp_path / "run", Silent())
    assert wrong_of(tmp_path / "run")
    assert "tcssa heatmap draws it" in read_page(tmp_path / "run" / "report.html").text


def test_patients_of_several_slides_have_no_picture_and_the_page_says_why(tmp_path: Path) -> None:
    cohort = with_places(write_patients(tmp_path, shift=0.0))
    run = tmp_path / "run"
    settings = small_run(cohort, epochs=1, class_weights="balanced", threshold="0.4")
    train(settings, run, Silent())
    drawn = {row["slide_id"]: bool(row["map"]) for row in wrong_of(run)}
    assert drawn == {name: int(name[1:]) % 3 == 0 for name in drawn}
    assert set(drawn.values()) == {True, False}
    page = read_page(run / "report.html").text
    assert "the slides of a patient have no places in common: p" in page
    assert "do not say where patches lie" not in page
    assert (run / "evidence_reference.safetensors").exists()
    assert read_metrics(run).pooled["at_threshold"]["sensitivity"]
    evaluate(run, Silent(), out=tmp_path / "eval")
    assert {row["slide_id"]: bool(row["map"]) for row in wrong_of(tmp_path / "eval")} == drawn
