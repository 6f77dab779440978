"""Runs whose bags are patients: what a bag is, what is tested, and what is refused."""

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from cohorts import small_run, write_patients
from html_pages import read_page

from tcssa.errors import RunError, TableError, UsageError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import Cohort, read_cohort
from tcssa.mil.comparison.compare import compare
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.settings import MilSettings, SplitSettings
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.prototypes import read_prototypes
from tcssa.mil.training.train import train
from tcssa.publishing.card import model_card
from tcssa.publishing.model_files import model_files
from tcssa.reporter import Silent
from tcssa.run import read_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[MilSettings, Path]:
    """One finished run by case that several tests look at; its features are packed."""
    folder = tmp_path_factory.mktemp("cohort")
    settings = small_run(write_patients(folder), epochs=2, feature_cache=folder / "pack")
    train(settings, folder / "run", Silent())
    return settings, folder / "run"


@pytest.fixture
def cohort(run: tuple[MilSettings, Path]) -> Cohort:
    return read_cohort(run[0].cohort)


def predictions_of(folder: Path) -> list[Prediction]:
    return read_predictions(folder / "predictions.csv", Classes(("a", "b")))


def test_a_bag_is_the_patches_of_a_patients_slides_in_the_order_of_their_names(
    cohort: Cohort,
) -> None:
    store = BagStore(0)
    (bag,) = cohort.bags([slide for slide in cohort.slides[::-1] if slide.case_id == "p02"])
    assert (bag.slide_id, bag.case_id) == ("p02", "p02")
    assert [slide.slide_id for slide in bag.slides] == ["s03", "s04", "s05"]
    features = store.get(bag)
    assert features.equal(torch.cat([store.get(slide) for slide in bag.slides]))
    assert bag.num_patches == len(features)


def test_the_state_of_a_bag_is_the_sum_of_its_slides_states(
    run: tuple[MilSettings, Path], cohort: Cohort
) -> None:
    compressor = SlideClassifier.load(run[1] / "final" / "checkpoint.safetensors").compressor
    store, near = BagStore(0), partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)
    for bag in cohort.bags(cohort.slides):
        merged = compressor.start()
        for slide in bag.slides:
            merged = merged.merge(compressor.update(compressor.start(), store.get(slide)))
        whole = compressor.update(compressor.start(), store.get(bag))
        assert merged.num_patches == whole.num_patches == bag.num_patches
        near(merged.mass, whole.mass)
        near(merged.weighted_sum / merged.num_patches, whole.weighted_sum / whole.num_patches)
        near(compressor.finish(merged), compressor.finish(whole))


def test_every_patient_is_tested_once_in_the_folds_of_the_run_by_slide(
    run: tuple[MilSettings, Path], tmp_path: Path
) -> None:
    settings, folder = run
    assert sorted(row.slide_id for row in predictions_of(folder)) == [f"p{i:02d}" for i in range(9)]
    assert all(row.slide_id == row.case_id for row in predictions_of(folder))
    by_slide = settings.cohort.model_copy(update={"unit": "slide"})
    train(small_run(by_slide, epochs=1), tmp_path / "slides", Silent())
    assert (tmp_path / "slides" / "splits.csv").read_bytes() == (folder / "splits.csv").read_bytes()
    with pytest.raises(RunError, match=r"was trained by slide, .* by case"):
        compare([folder, tmp_path / "slides"], None, Silent())


def test_the_run_says_what_its_bags_are(run: tuple[MilSettings, Path]) -> None:
    said = "by case: 18 slides of 9 patients are 9 bags"
    assert said in read_run(run[1])["readings"]
    page = read_page(run[1] / "report.html")
    assert ["read as", said] in page.cells
    assert "9 test bags of 9 patients" in page.text
    assert "trained on all 18 slides of 9 patients" in " ".join(page.text.split())
    card = model_card(model_files(run[1]))
    assert "| one bag | all slides of a patient |" in card
    assert "9 bags of 9 patients" in card
    assert {each.slide_id[0] for each in read_prototypes(run[1] / "fold-0")} == {"s"}


def test_it_is_evaluated_by_case_on_its_own_patients_and_on_others(
    run: tuple[MilSettings, Path], tmp_path: Path
) -> None:
    settings, folder = run
    evaluate(folder, Silent(), out=tmp_path / "own")
    for mine, again in zip(predictions_of(folder), predictions_of(tmp_path / "own"), strict=True):
        assert (mine.slide_id, mine.fold) == (again.slide_id, again.fold)
        assert again.probs == pytest.approx(mine.probs, abs=1e-6)
    assert settings.cohort.labels is not None
    found = evaluate(
        folder, Silent(), labels=settings.cohort.labels, features=settings.cohort.features,
        out=tmp_path / "new", allow_overlap=True,
    )  # fmt: skip
    assert len(predictions_of(tmp_path / "new")) == 9
    assert found.metrics["readings"] == ["by case: 18 slides of 9 patients are 9 bags"]
    assert "9 bags of 9 patients" in read_page(tmp_path / "new" / "report.html").text


def test_a_second_call_does_nothing_and_another_unit_is_another_run(
    run: tuple[MilSettings, Path],
) -> None:
    settings, folder = run
    train(settings, folder, Silent())
    by_slide = settings.cohort.model_copy(update={"unit": "slide"})
    with pytest.raises(RunError, match=r"cohort\.unit was 'case', now 'slide'"):
        train(settings.model_copy(update={"cohort": by_slide}), folder, Silent())


def test_official_splits_of_slides_hold_for_their_patients(
    run: tuple[MilSettings, Path], tmp_path: Path
) -> None:
    settings = run[0].model_copy(update={"split": SplitSettings(files=run[1] / "splits.csv")})
    train(settings, tmp_path / "again", Silent())
    assert predictions_of(tmp_path / "again") == predictions_of(run[1])


def test_slides_of_a_patient_with_different_labels_are_refused(
    run: tuple[MilSettings, Path], tmp_path: Path
) -> None:
    labels = run[0].cohort.labels
    assert labels is not None
    (tmp_path / "labels.csv").write_text(labels.read_text().replace("p02,s04,a", "p02,s04,b"))
    data = run[0].cohort.model_copy(update={"labels": tmp_path / "labels.csv"})
    with pytest.raises(TableError, match="patient 'p02': slides 's03' and 's04' have different"):
        read_cohort(data)
    assert len(read_cohort(data.model_copy(update={"unit": "slide"})).slides) == 18


@pytest.mark.parametrize("model", [{"name": "2dmamba"}, {"spatial": "moments"}])
def test_methods_that_read_places_are_refused(
    run: tuple[MilSettings, Path], tmp_path: Path, model: dict[str, str]
) -> None:
    settings = run[0].model_copy(update={"model": run[0].model.model_copy(update=model)})
    with pytest.raises(UsageError, match="places of different slides do not add up: patient p01"):
        train(settings, tmp_path / "run", Silent())


def test_any_method_learns_patients(run: tuple[MilSettings, Path], tmp_path: Path) -> None:
    model = run[0].model.model_copy(update={"name": "abmil"})
    metrics = train(
        small_run(run[0].cohort, epochs=1).model_copy(update={"model": model}),
        tmp_path / "run",
        Silent(),
    )
    assert Counter(len(row.probs) for row in predictions_of(tmp_path / "run")) == {2: 9}
    assert metrics.final is not None
    assert (metrics.final.num_slides, metrics.final.num_cases) == (18, 9)
