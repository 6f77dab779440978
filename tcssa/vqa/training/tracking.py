"""Trackers of experiments that are told of a training; nothing leaves the machine by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.optional import require
from tcssa.vqa.settings import VqaSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

TRACKING_FOLDER = "tracking"
_PROJECT = "tcssa"


def require_tracker(name: str | None) -> None:
    """Check that a tracker's package is installed.

    Raises:
        MissingExtraError: It is not.
    """
    if name is not None:
        require(name, name)


def start_tracking(accelerator: Accelerator, folder: Path, settings: VqaSettings) -> None:
    """Begin to tell the tracker that was asked for, if any, of a training.

    Weights & Biases is offline and MLflow writes into the run directory, unless their variables
    WANDB_MODE and MLFLOW_TRACKING_URI say otherwise.

    Args:
        accelerator: The Accelerator that was made with this tracker.
        folder: The run directory.
        settings: Settings of the training, for the tracker's table.
    """
    tracker = settings.train.track
    if tracker is None:
        return
    place = folder / TRACKING_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {}
    if tracker == "wandb":
        mode = os.environ.get("WANDB_MODE", "offline")
        options = {"dir": str(place), "name": folder.name, "mode": mode}
    if tracker == "mlflow":
        if accelerator.is_main_process and "MLFLOW_TRACKING_URI" not in os.environ:
            import mlflow

            mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
        options = {"run_name": folder.name, "logging_dir": (place / "mlflow").as_uri()}
    flat = {
        f"{section}.{name}": value if isinstance(value, int | float | str) else str(value)
        for section, values in settings.model_dump(mode="json").items()
        for name, value in values.items()
    }
    accelerator.init_trackers(_PROJECT, config=flat, init_kwargs={tracker: options})
