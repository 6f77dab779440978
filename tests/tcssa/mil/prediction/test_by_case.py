"""A run trained by case predicts patients: one bag each, whole or not at all."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from cohorts import small_run, write_patients
from factories import write_bag
from html_pages import read_page

from tcssa.errors import UsageError
from tcssa.features import find_bags
from tcssa.features.patients import read_cases
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.heatmaps.small_maps import SmallMaps
from tcssa.mil.prediction.predict import Predicted, predict
from tcssa.mil.prediction.run_model import RunModel
from tcssa.mil.results.finished import read_finished
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa_cli.main import run as run_tcssa


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(small_run(write_patients(folder), epochs=2), folder / "run", Silent())
    return folder / "run"


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Five new slides: two of a TCGA patient, two of patient q by the table, one of nobody."""
    for i, name in enumerate(["TCGA-AA-0001-DX2", "TCGA-AA-0001-DX1", "n1", "n2", "n3"]):
        write_bag(tmp_path / "new" / f"{name}.h5", 20 + i, seed=50 + i, shift=i % 2)
    (tmp_path / "cases.csv").write_text("slide_id,case_id\nn1,q\nn2,q\n")
    return tmp_path / "new"


def predicted(run: Path, slides: Path, reporter: Silent | None = None) -> Predicted:
    reporter, out = reporter or Silent(), slides.parent / "out"
    cases = read_cases(slides.parent / "cases.csv", reporter)
    model = RunModel(read_finished(run), reporter)
    return predict(model, find_bags([slides]), out, reporter, cases=cases)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_is_a_patient_predicted_as_eval_does(run: Path, slides: Path) -> None:
    reporter = Silent()
    found = predicted(run, slides, reporter)
    assert [(row.name, row.slides, row.num_patches) for row in found.slides] == [
        ("TCGA-AA-0001", ["TCGA-AA-0001-DX1", "TCGA-AA-0001-DX2"], 41),
        ("q", ["n1", "n2"], 45),
        ("n3", ["n3"], 24),
    ]
    assert any("no patient is known for 1 slide" in text for text in reporter.warnings)
    names = {"TCGA-AA-0001-DX1": "", "TCGA-AA-0001-DX2": "", "n1": "q", "n2": "q", "n3": ""}
    labels = slides.parent / "labels.csv"
    rows = [f"{name},{case},{'b' if name == 'n3' else 'a'}" for name, case in names.items()]
    labels.write_text("\n".join(["slide_id,case_id,label", *rows]) + "\n")
    evaluate(run, Silent(), labels=labels, features=slides, out=slides.parent / "eval")
    by_eval = {row["case_id"]: row for row in table(slides.parent / "eval" / "predictions.csv")}
    for row in table(found.folder / "predictions.csv"):
        assert row["slide_id"] == row["case_id"]
        same = by_eval[row["case_id"]]
        assert float(row["prob_b"]) == pytest.approx(float(same["prob_b"]), abs=1e-6)
    page = " ".join(read_page(found.folder / "report.html").text.split())
    assert "3 patients," in page
    assert "All slides of a patient are one bag" in page


def test_a_patient_is_predicted_again_if_one_slide_changed(run: Path, slides: Path) -> None:
    before = {row.name: row.outputs.final for row in predicted(run, slides).slides}
    assert predicted(run, slides).num_done_before == 3
    stat = (slides / "n1.h5").stat()
    write_bag(slides / "n1.h5", 22, seed=77)
    os.utime(slides / "n1.h5", ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))  # older than n2
    again = predicted(run, slides)
    assert again.num_done_before == 2
    after = {row.name: row.outputs.final for row in again.slides}
    assert [name for name in after if after[name] != before[name]] == ["q"]
    write_bag(slides / "TCGA-AA-0001-DX3.h5", 9)
    assert predicted(run, slides).num_done_before == 2


def test_a_patient_without_one_of_the_slides_is_not_predicted(run: Path, slides: Path) -> None:
    (slides / "n1.h5").write_bytes(b"no HDF5")
    found = predicted(run, slides)
    assert [row.name for row in found.slides] == ["TCGA-AA-0001", "n3"]
    reasons = {row["slide_id"]: row["reason"] for row in table(found.folder / "failed.csv")}
    assert reasons["q"] == "is not predicted without its slide n1"
    assert set(reasons) == {"n1", "q"}


def test_nan_in_a_later_slide_of_a_patient_names_its_file(run: Path, slides: Path) -> None:
    features = np.ones((5, 16), np.float32)
    features[3, 2] = np.nan
    (slides / "n2.h5").unlink()
    np.save(slides / "n2.npy", features)
    (failed,) = predicted(run, slides).failed
    assert failed.slide_id == "q"
    assert "row 3" in failed.reason
    assert "n2.npy" in failed.reason


def test_a_patient_of_one_slide_has_a_map_and_the_page_says_why_others_have_none(
    run: Path, slides: Path
) -> None:
    model, out = RunModel(read_finished(run), Silent()), slides.parent / "out"
    cases = {"n1": "q", "n2": "q", "n3": "p"}
    predict(model, find_bags([slides]), out, Silent(), cases=cases, maps=SmallMaps(model))
    assert [path.name for path in (out / "maps").iterdir()] == ["p.jpg"]
    page = read_page(out / "report.html")
    text = " ".join(page.text.split())
    assert "1 of 3 patients, the first ones of the table who have one slide, with a map" in text
    assert "2 patients of several slides without a map" in text
    shown = {str(image["alt"]).partition(":")[0] for image in page.attributes("img")}
    assert shown >= {"n1 of q", "n2 of q", "n3 of p", "TCGA-AA-0001-DX1 of TCGA-AA-0001"}
    write_bag(slides / "n3.h5", 30, seed=5)
    predict(model, find_bags([slides]), out, Silent(), cases=cases)
    assert not list((out / "maps").iterdir())


def test_every_slide_of_a_patient_is_doubted(run: Path, slides: Path) -> None:
    for name in ("s03", "s04"):  # of one patient that the run was trained on
        write_bag(slides / f"{name}.h5", 9)
    reporter = Silent()
    predicted(run, slides, reporter)
    assert any("2 of 7 slides are of patients" in text for text in reporter.warnings)


def test_a_patient_that_cannot_name_a_file_is_refused(run: Path, slides: Path) -> None:
    (slides.parent / "cases.csv").write_text("slide_id,case_id\nn1,../q\nn2,../q\n")
    with pytest.raises(UsageError, match=r"case_id '\.\./q' is no plain name"):
        predicted(run, slides)


def test_the_command_predicts_patients_and_slides_alone_are_refused(
    run: Path, slides: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(run), str(slides), "--out", str(slides.parent / "out")]
    assert run_tcssa([*words, "--cases", str(slides.parent / "cases.csv"), "--by", "case"]) == 0
    told = capsys.readouterr()
    assert "3 patients predicted by run, final model" in told.out
    assert "by case: 5 slides are 3 bags, one a patient" in told.err
    rows = table(slides.parent / "out" / "cases.csv")
    assert [row["num_slides"] for row in rows] == ["2", "2", "1"]
    assert {row["at_threshold"] for row in rows} <= {"a", "b"}
    assert run_tcssa([*words, "--calibrated", "--overwrite"]) == 0
    assert "Probabilities are scaled by the run's temperature" in capsys.readouterr().out
    assert run_tcssa([*words, "--by", "slide"]) == 2
    assert "was trained by case" in capsys.readouterr().err
