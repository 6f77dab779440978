"""Slides without labels through a run: tables, patients, resuming, and what fails."""

import csv
import json
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort, write_labelled, write_survival
from factories import write_bag
from html_pages import read_page
from PIL import Image

from tcssa.errors import FeatureDimError, SlideError, TableError, UsageError
from tcssa.features import find_bags
from tcssa.features.patients import read_cases
from tcssa.files.picture import read_rgb
from tcssa.mil.bags.familiar import FAMILIAR_FILE
from tcssa.mil.classifier.ensemble import Ensemble
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.heatmaps.small_maps import SmallMaps, passes
from tcssa.mil.methods.registry import build_method
from tcssa.mil.prediction.predict import PREDICTIONS_FILE, Predicted, predict
from tcssa.mil.prediction.run_model import RunModel
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(small_run(write_cohort(folder)), folder / "run", Silent())
    return folder / "run"


@pytest.mark.parametrize("kind", ["survival", "ordinal"])
def test_other_kinds_of_label_have_their_own_columns(
    kind: Literal["survival", "ordinal"], tmp_path: Path
) -> None:
    cohort = write_survival(tmp_path) if kind == "survival" else write_cohort(tmp_path)
    grades = None if kind == "survival" else ["a", "b"]
    settings = small_run(cohort.model_copy(update={"kind": kind, "classes": grades}), epochs=1)
    train(settings, tmp_path / "run", Silent())
    found = predicted(tmp_path / "run", tmp_path / "features", tmp_path / "out", with_cases=True)
    assert not found.failed
    row = table(tmp_path / "out" / "predictions.csv")[0]
    if kind == "survival":
        survival = [float(row[f"survival_{k}"]) for k in (1, 2, 3, 4)]
        assert float(row["risk"]) == pytest.approx(1 - np.mean(survival))
        assert float(row["risk_low"]) <= float(row["risk_high"])
    else:
        assert row["predicted"] in "ab"
        assert 0 <= float(row["agreement"]) <= 1
    shown = read_page(tmp_path / "out" / "report.html").text
    assert ("The highest risks come first" in shown) == (kind == "survival")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Four new slides, of classes a, b, a, b; the first two of one TCGA patient."""
    names = ["TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0001-01Z-00-DX2", "n2", "n3"]
    for i, name in enumerate(names):
        write_bag(tmp_path / "new" / f"{name}.h5", 30 + i, seed=50 + i, shift=0.9 * (i % 2))
    return tmp_path / "new"


def predicted(
    run: Path, slides: Path, out: Path, reporter: Silent | None = None, **more: Any
) -> Predicted:
    reporter = reporter or Silent()
    return predict(
        RunModel(read_finished(run), reporter), find_bags([slides]), out, reporter, **more
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_has_probabilities_class_agreement_and_patches(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    found = predicted(run, slides, tmp_path / "out")
    assert not found.failed
    rows = {row["slide_id"]: row for row in table(tmp_path / "out" / "predictions.csv")}
    assert [*rows] == ["TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0001-01Z-00-DX2", "n2", "n3"]
    assert rows["TCGA-AA-0001-01Z-00-DX2"]["case_id"] == "TCGA-AA-0001"
    assert rows["n3"]["case_id"] == "n3"
    assert (rows["n2"]["predicted"], rows["n3"]["predicted"]) == ("a", "b")
    assert rows["n3"]["num_patches"] == "33"
    for row in rows.values():
        assert float(row["prob_a"]) + float(row["prob_b"]) == pytest.approx(1)
        assert 0 <= float(row["unlike_share"]) < 0.2
        assert float(row["agreement"]) in (0, 1 / 3, 2 / 3, 1)


def test_slides_most_of_whose_patches_are_unlike_training_are_named(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    write_bag(slides / "bone.h5", 20, seed=9, shift=10.0)
    reporter = Silent()
    predicted(run, slides, tmp_path / "out", reporter)
    (warning,) = (each for each in reporter.warnings if "unlike" in each)
    assert warning.startswith("most patches of 1 of 5 slides are unlike those of training")
    assert warning.endswith(": bone")


def test_the_class_at_the_threshold_stands_beside_the_predicted_one(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    own = read_metrics(run).calibration["label"]
    given = {"label": own.model_copy(update={"threshold": 0.999999})}
    found = predicted(run, slides, tmp_path / "out", calibrations=given)
    rows = {row["slide_id"]: row for row in table(tmp_path / "out" / "predictions.csv")}
    assert (rows["n3"]["predicted"], rows["n3"]["at_threshold"]) == ("b", "a")
    assert found.facts()["calibration"]["label"]["threshold"] == 0.999999
    page = read_page(tmp_path / "out" / "report.html")
    assert "at_threshold: b from an unscaled probability of 1.000" in page.text
    assert "at_threshold" in page.cells[0]
    given = {"label": own.model_copy(update={"threshold": 0.5})}  # where both are the same
    predicted(run, slides, tmp_path / "out", calibrations=given)
    page = read_page(tmp_path / "out" / "report.html")
    assert "at_threshold" not in page.cells[0]
    assert "Here this is the predicted class everywhere" in page.text


def test_scaled_probabilities_are_shown_if_asked_for_and_change_no_class(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    given = read_metrics(run).calibration
    predicted(run, slides, tmp_path / "out", calibrations=given)
    plain = table(tmp_path / "out" / "predictions.csv")
    found = predicted(run, slides, tmp_path / "out", calibrations=given, is_scaled=True)
    assert found.num_done_before == 4
    for before, after in zip(plain, table(tmp_path / "out" / "predictions.csv"), strict=True):
        assert before["predicted"] == after["predicted"]
        assert before["agreement"] == after["agreement"]
        logits = [np.log(float(row["prob_b"]) / float(row["prob_a"])) for row in (before, after)]
        assert logits[1] == pytest.approx(logits[0] / given["label"].temperature)
    with pytest.raises(UsageError, match="no temperature to scale with"):
        predicted(run, slides, tmp_path / "out", is_scaled=True)


def test_the_page_shows_slides_with_their_thumbnails_and_what_failed(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    features = tmp_path / "job" / "20x_224px_0px_overlap" / "features_test_encoder"
    features.parent.mkdir(parents=True)
    slides.rename(features)
    (features / "<broken>.h5").write_bytes(b"no HDF5")
    for name, content in (("n2", None), ("n3", b"no picture")):
        thumbnail = tmp_path / "job" / "thumbnails" / f"{name}.jpg"
        thumbnail.parent.mkdir(exist_ok=True)
        Image.new("RGB", (900, 600), "purple").save(thumbnail)
        if content is not None:
            thumbnail.write_bytes(content)
    reporter = Silent()
    predicted(run, features, tmp_path / "out", reporter, with_cases=True)
    page = read_page(tmp_path / "out" / "report.html")
    assert "Predictions by run, final model" in page.text
    shown = {str(image["alt"]).partition(":")[0] for image in page.attributes("img")}
    assert shown == {*(path.stem for path in features.glob("[Tn]*.h5"))}  # others: their patches
    assert "a model without evidence of patches" in page.text
    assert any("no picture of n3" in text for text in reporter.warnings)
    assert any(cells[0] == "<broken>" for cells in page.cells)
    assert sum(cells[0] in ("TCGA-AA-0001", "n2", "n3") for cells in page.cells) == 5


def test_the_page_has_maps_of_evidence_which_are_drawn_once(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    model, out = RunModel(read_finished(run), Silent()), tmp_path / "out"
    found = predict(model, find_bags([slides]), out, Silent(), maps=SmallMaps(model))
    maps = sorted((out / "maps").iterdir())
    assert [path.stem for path in maps] == sorted(row.name for row in found.slides)
    pixels = read_rgb(maps[0], SlideError).astype(int)
    side = (pixels.shape[1] - 8) // 2
    colour = np.ptp(pixels, axis=2)
    assert colour[:, :side].max() < 20 < colour[:, -side:].max()  # the grid is grey, its map is not
    shown = read_page(out / "report.html").text
    assert "4 of 4 slides, the first ones of the table, with a map" in shown
    again = predict(model, find_bags([slides]), out, Silent(), maps=Counted(1))
    assert again.num_done_before == 4
    assert read_page(out / "report.html").attributes("img")[3]["src"]
    write_bag(slides / "n2.h5", 40, seed=9)
    fresh = Counted(1)
    predict(model, find_bags([slides]), out, Silent(), maps=fresh)
    assert fresh.drawn == ["n2"]


class Counted:
    """Draws nothing, and remembers what it was asked for."""

    shows = "Maps."

    def __init__(self, passes: int) -> None:
        self.passes = passes
        self.drawn: list[str] = []

    def draw(self, given: GivenSlide) -> np.ndarray:
        self.drawn.append(given.slide.slide_id)
        return np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(("passes", "drawn"), [(1, 4), (3000, 2), (10**6, 1)])
def test_maps_take_no_longer_than_predicting_or_a_moment(
    run: Path, slides: Path, tmp_path: Path, passes: int, drawn: int
) -> None:
    maker = Counted(passes)
    predicted(run, slides, tmp_path / "out", maps=maker)
    assert len(maker.drawn) == drawn


def test_methods_say_how_long_their_evidence_takes() -> None:
    exact, occluded = (build_method(name, 8, 2) for name in ("abmil", "transmil"))
    assert passes(exact) == 3
    assert passes(Ensemble([occluded, exact])) == 36


def test_a_patient_is_the_mean_of_the_logits(run: Path, slides: Path, tmp_path: Path) -> None:
    reporter = Silent()
    found = predicted(run, slides, tmp_path / "out", reporter, with_cases=True)
    rows = {row["case_id"]: row for row in table(tmp_path / "out" / "cases.csv")}
    assert [*rows] == ["TCGA-AA-0001", "n2", "n3"]
    both = rows["TCGA-AA-0001"]
    assert (both["num_slides"], both["num_patches"]) == ("2", "61")
    logits = torch.tensor([row.outputs.final for row in found.slides[:2]], dtype=torch.float64)
    assert float(both["prob_b"]) == pytest.approx(logits.mean(0).softmax(0)[1].item())
    assert any("no patient is known for 2 slides" in text for text in reporter.warnings)


def test_a_table_names_the_patients(run: Path, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("slide_id,case_id\nn2,p\nn3,p\n")
    cases = read_cases(tmp_path / "cases.csv", Silent())
    found = predicted(run, slides, tmp_path / "out", cases=cases, with_cases=True)
    assert found.cases is not None
    assert [(row.name, len(row.slides)) for row in found.cases] == [("TCGA-AA-0001", 2), ("p", 2)]
    (tmp_path / "cases.csv").write_text("slide_id,label\nn2,a\n")
    with pytest.raises(TableError, match="needs the columns slide_id and case_id"):
        read_cases(tmp_path / "cases.csv", Silent())


def test_finished_slides_are_not_predicted_again(
    run: Path, slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    predicted(run, slides, out)
    before = (out / "predictions.csv").read_bytes()
    write_bag(slides / "n3.h5", 33, seed=99)  # another content
    (out / "outputs" / "n2.json").write_text("{}")  # damaged
    calls: list[str] = []
    original = RunModel.predict

    def counting(self: RunModel, slide: Any) -> Any:
        calls.append(slide.slide.slide_id)
        return original(self, slide)

    monkeypatch.setattr(RunModel, "predict", counting)
    assert predicted(run, slides, out).num_done_before == 2
    assert sorted(calls) == ["n2", "n3"]
    calls.clear()
    (slides / "n2.h5").touch()  # of another time, and of the same content
    assert predicted(run, slides, out).num_done_before == 4
    assert predicted(run, slides, out, overwrite=True).num_done_before == 0
    assert (out / "predictions.csv").read_bytes() != before


def test_a_slide_that_fails_is_named_and_the_others_are_predicted(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    (slides / "broken.h5").write_bytes(b"no HDF5")
    write_bag(slides / "empty.h5", 0)
    with h5py.File(write_bag(slides / "nan.h5", 9), "r+") as file:
        file["features"][4, 2] = np.nan
    reporter = Silent()
    found = predicted(run, slides, tmp_path / "out", reporter)
    assert sorted(failed.slide_id for failed in found.failed) == ["broken", "empty", "nan"]
    assert len(found.slides) == 4
    rows = {row["slide_id"]: row["reason"] for row in table(tmp_path / "out" / "failed.csv")}
    assert rows["empty"] == "holds no patches"
    assert "row 4" in rows["nan"]
    assert sum("was not predicted" in text for text in reporter.warnings) == 3
    for name in rows:
        (slides / f"{name}.h5").unlink()
    predicted(run, slides, tmp_path / "out")
    assert not (tmp_path / "out" / "failed.csv").exists()


def test_features_of_another_encoder_or_length_are_refused(
    run: Path, slides: Path, tmp_path: Path
) -> None:
    write_bag(slides / "other.h5", 5, encoder="another")
    with pytest.raises(UsageError, match=r"was trained on features of 'test_encoder'.*'another'"):
        predicted(run, slides, tmp_path / "out")
    write_bag(slides / "other.h5", 5, feature_dim=12)
    with pytest.raises(FeatureDimError, match="D = 12, expected D = 16"):
        predicted(run, slides, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_is_not_named_is_warned_of(run: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    np.save(tmp_path / "new" / "plain.npy", np.ones((5, 16), np.float32))
    reporter = Silent()
    assert len(predicted(run, tmp_path / "new", tmp_path / "out", reporter).slides) == 1
    assert any("do not name their encoder" in text for text in reporter.warnings)


def test_an_ensemble_of_a_method_that_reads_places_predicts_as_eval(
    slides: Path, tmp_path: Path
) -> None:
    settings = small_run(write_cohort(tmp_path, 9), final="ensemble", epochs=1)
    model = settings.model.model_copy(update={"name": "2dmamba"})
    train(settings.model_copy(update={"model": model}), tmp_path / "run", Silent())
    rows = [f"{path.stem},{'ab'[i % 2]}" for i, path in enumerate(sorted(slides.iterdir()))]
    (tmp_path / "new.csv").write_text("\n".join(["slide_id,label", *rows]))
    evaluate(
        tmp_path / "run", Silent(), labels=tmp_path / "new.csv", features=slides,
        out=tmp_path / "eval",
    )  # fmt: skip
    np.save(slides / "placeless.npy", np.ones((5, 16), np.float32))
    found = predicted(tmp_path / "run", slides, tmp_path / "out")
    assert found.model.name == "run, mean of 3 folds"
    assert [failed.slide_id for failed in found.failed] == ["placeless"]
    assert "have no coords" in found.failed[0].reason
    by_eval, ours = (
        table(tmp_path / "eval" / "predictions.csv"),
        table(found.folder / PREDICTIONS_FILE),
    )
    assert [row["prob_b"] for row in ours] == [row["prob_b"] for row in by_eval]


def test_runs_without_folds_or_statistic_leave_the_columns_empty(
    slides: Path, tmp_path: Path
) -> None:
    settings = small_run(write_cohort(tmp_path), keep="final", epochs=2)
    train(settings, tmp_path / "run", Silent())
    (tmp_path / "run" / FAMILIAR_FILE).unlink()
    predicted(tmp_path / "run", slides, tmp_path / "out")
    row = table(tmp_path / "out" / "predictions.csv")[0]
    assert (row["agreement"], row["unlike_share"]) == ("", "")
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["folds"] == 0


@pytest.mark.parametrize("final", ["refit", "ensemble"])
def test_numbers_are_in_the_labels_unit_between_those_of_the_folds(
    final: str, tmp_path: Path
) -> None:
    shifts = np.linspace(0, 2, 12)
    labels = [{"label": f"{1000 + 100 * shift:.1f}"} for shift in shifts]
    cohort = write_labelled(tmp_path, labels, shifts.tolist())
    settings = small_run(cohort.model_copy(update={"kind": "regression"}), epochs=2, final=final)
    train(settings, tmp_path / "run", Silent())
    assert not predicted(tmp_path / "run", tmp_path / "features", tmp_path / "out").failed
    rows = table(tmp_path / "out" / "predictions.csv")
    told = {row["slide_id"]: float(row["predicted"]) for row in rows}
    scored = evaluate(
        tmp_path / "run",
        Silent(),
        labels=tmp_path / "labels.csv",
        features=tmp_path / "features",
        allow_overlap=True,
    )
    same = {
        row["slide_id"]: float(row["predicted"]) for row in table(scored.folder / "predictions.csv")
    }
    assert told == pytest.approx(same)
    assert all(900 < value < 1300 for value in told.values())
    for row in rows:
        low, high = float(row["predicted_low"]), float(row["predicted_high"])
        assert low <= high
        if final == "ensemble":
            assert low - 1e-6 <= float(row["predicted"]) <= high + 1e-6
