"""Trackers of experiments that are told of a training; nothing leaves the machine by itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.optional import require

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


def start_tracking(
    accelerator: Accelerator, tracker: str, folder: Path, settings: Mapping[str, Any]
) -> None:
    """Begin to tell a tracker of a training.

    Weights & Biases is offline and MLflow writes into the run directory, unless their variables
    WANDB_MODE and MLFLOW_TRACKING_URI say otherwise.

    Args:
        accelerator: The Accelerator that was made with this tracker.
        tracker: Its name.
        folder: The run directory.
        settings: Settings of the training by section and name, for the tracker's table.
    """
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
        for section, values in settings.items()
        for name, value in values.items()
    }
    accelerator.init_trackers(_PROJECT, config=flat, init_kwargs={tracker: options})
