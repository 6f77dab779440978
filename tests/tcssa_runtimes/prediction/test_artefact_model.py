"""Exported classifiers predict as the run does, and as its evaluation."""

import csv
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cohorts import small_run, write_cohort
from exports import Exported
from factories import write_bag

from tcssa.artefact import Artefact, Graph
from tcssa.errors import ArtefactError, UsageError
from tcssa.features import find_bags
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.prediction.predict import predict
from tcssa.mil.prediction.run_model import RunModel
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa_exporters import export_model, open_source
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.slot_sink import SlotFiles
from tcssa_runtimes.prediction.artefact_model import ArtefactModel

ArtefactOf = Callable[[str, Graph], Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run for each kind of final model."""
    folder = tmp_path_factory.mktemp("runs")
    cohort = write_cohort(folder)
    for final in ("refit", "ensemble", "none"):
        settings = small_run(cohort, epochs=4 if final == "refit" else 2, final=final)
        train(settings, folder / final, Silent())
    return {run.name: run for run in folder.iterdir() if (run / "run.json").exists()}


@pytest.fixture(scope="module")
def artefact_of(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> ArtefactOf:
    """Gives the artefact of a run's classifier, made once; only to be read."""
    folder = tmp_path_factory.mktemp("exports")

    @cache
    def artefact(final: str, graph: Graph) -> Path:
        export_model(open_source(runs[final], "classifier"), folder / final / graph, graph=graph)
        return folder / final / graph

    return artefact


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides that the run does not know, among them one of a single patch, with their labels."""
    folder = tmp_path_factory.mktemp("new")
    rows = ["slide_id,case_id,label"]
    for i, num_patches in enumerate([1, 25, 60, 300]):
        write_bag(folder / "job" / f"n{i}.h5", num_patches, seed=70 + i, shift=0.6 * (i % 2))
        rows.append(f"n{i},q{i},{'ab'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def probabilities(folder: Path) -> dict[str, list[float]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return {
            row["slide_id"]: [float(row["prob_a"]), float(row["prob_b"])]
            for row in csv.DictReader(stream)
        }


@pytest.mark.parametrize(
    ("final", "graph"),
    [("refit", "full"), ("refit", "chunked"), ("ensemble", "full"), ("none", "chunked")],
)
def test_predict_eval_and_the_artefact_give_the_same_probabilities(
    runs: dict[str, Path],
    artefact_of: ArtefactOf,
    new: Path,
    tmp_path: Path,
    final: str,
    graph: Graph,
) -> None:
    run, artefact_folder = runs[final], artefact_of(final, graph)
    labels, features = new / "labels.csv", new / "job"
    evaluate(run, Silent(), labels=labels, features=features, out=tmp_path / "eval")
    bags = find_bags([features])
    predict(RunModel(read_finished(run), Silent()), bags, tmp_path / "predicted", Silent())
    with open_runtime(artefact_folder) as runtime:
        predict(ArtefactModel(runtime), bags, tmp_path / "deployed", Silent())

    by_eval = probabilities(tmp_path / "eval")
    by_run = probabilities(tmp_path / "predicted")
    by_artefact = probabilities(tmp_path / "deployed")
    assert len(by_eval) == 4
    assert by_run == by_eval
    artefact = Artefact.read(artefact_folder)
    assert (artefact.members, artefact.num_slots) == ((1, 4) if final == "refit" else (3, 12))
    assert artefact.calibration == read_metrics(run).calibration != {}
    tolerance = artefact.parity.tolerance
    assert by_artefact.keys() == by_run.keys()
    for slide, expected in by_run.items():
        assert by_artefact[slide] == pytest.approx(expected, abs=tolerance)


def test_an_artefact_knows_no_folds_and_no_training_patches(
    artefact_of: ArtefactOf, new: Path, tmp_path: Path
) -> None:
    with open_runtime(artefact_of("refit", "full")) as runtime:
        found = predict(
            ArtefactModel(runtime), find_bags([new / "job"]), tmp_path / "out", Silent()
        )
    assert found.model.name == "full, onnx (cpu)"
    cells = dict(zip(found.columns.header, found.columns.cells(found.slides[0]), strict=True))
    assert cells["agreement"] is None
    assert cells["unlike_share"] is None


def test_an_artefact_of_before_has_no_calibration(exported: Exported, tmp_path: Path) -> None:
    content = json.loads((exported() / "artefact.json").read_text())
    assert content.pop("calibration") == {}
    (tmp_path / "artefact.json").write_text(json.dumps(content))
    for name in {file for model in content["models"].values() for file in [model["file"]]}:
        (tmp_path / name).symlink_to(exported() / name)
    assert Artefact.read(tmp_path).calibration == {}


def test_an_artefact_of_slots_predicts_nothing(exported: Exported) -> None:
    with open_runtime(exported()) as runtime, pytest.raises(ArtefactError, match="ends with slots"):
        ArtefactModel(runtime)


def test_slots_of_an_ensemble_are_not_encoded(
    artefact_of: ArtefactOf, new: Path, tmp_path: Path
) -> None:
    artefact = artefact_of("ensemble", "full")
    with (
        open_runtime(artefact) as runtime,
        pytest.raises(UsageError, match="slots of 3 models"),
    ):
        encode([new / "job"], tmp_path / "out", runtime)
    with open_runtime(artefact) as runtime, pytest.raises(UsageError):
        SlotFiles(tmp_path / "out", runtime)
    assert not (tmp_path / "out").exists()
