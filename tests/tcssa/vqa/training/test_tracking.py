"""Trackers are told of a training, offline, and named where they are not installed."""

import importlib.util
import re
from pathlib import Path

import pytest
from vqa_training import tiny, write_material

from tcssa.errors import MissingExtraError
from tcssa.files.table import read_table
from tcssa.reporter import Silent
from tcssa.vqa.training.train import train

TRACKERS = ("tensorboard", "wandb", "mlflow")


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLAlchemy's, of MLflow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_is_told_of_every_record_or_its_extra_is_named(
    tiny_llm_folder: Path, tmp_path: Path, tracker: str
) -> None:
    material = write_material(tmp_path / "material", tiny_llm_folder)
    settings = tiny(material, train={"epochs": 2, "track": tracker})
    if not is_installed(tracker):
        with pytest.raises(MissingExtraError, match=tracker):
            train(settings, tmp_path / "run", Silent())
        assert not (tmp_path / "run").exists()
        return
    train(settings, tmp_path / "run", Silent())
    lines = read_table(tmp_path / "run" / "history.csv").rows.values()
    losses = [line["train_loss"] for line in lines]
    told = LOOKS[tracker](tmp_path / "run" / "tracking")
    assert told == pytest.approx([float(loss) for loss in losses], rel=1e-5)


def of_tensorboard(folder: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tcssa")).Reload()
    return [event.value for event in events.Scalars("train_loss")]


def of_mlflow(folder: Path) -> list[float]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'tcssa'")
    (run,) = client.search_runs([experiment.experiment_id])
    return [metric.value for metric in client.get_metric_history(run.info.run_id, "train_loss")]


def of_wandb(folder: Path) -> list[float]:
    """Read the losses off the file of an offline run, a log of records that holds them as JSON."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    found = re.findall(rb"train_loss[^0-9]{1,4}([0-9.]+)", file.read_bytes())
    return [float(loss) for loss in dict.fromkeys(found)]  # the run's summary repeats each


LOOKS = {"tensorboard": of_tensorboard, "wandb": of_wandb, "mlflow": of_mlflow}
