"""The model that a finished run predicts new slides with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.errors import RunError
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.ensemble import Ensemble
from tcssa.mil.methods import BagClassifier
from tcssa.mil.results.finished import FINAL_FOLDER, FinishedRun
from tcssa.run import CHECKPOINT_FILE


def load_final(run: FinishedRun, model: str | None = None) -> BagClassifier:
    """Load the model that predicts new slides; in evaluation mode, on the CPU.

    It is the one trained on all patients (``--final refit``), else the mean of the folds' logits.

    Args:
        run: The run.
        model: The run's method, if it is the user's own code (``module:factory``).

    Raises:
        CheckpointError: A checkpoint is missing or damaged, or names code that ``model`` does not
            name.
        RunError: The folds' weights were not kept.
    """
    if run.settings.train.final == "refit":
        return load_classifier(run.folder / FINAL_FOLDER / CHECKPOINT_FILE, model)
    return load_ensemble(fold_checkpoints(run), model)


def load_ensemble(checkpoints: Sequence[Path], model: str | None = None) -> Ensemble:
    """Load the mean of several folds' logits; in evaluation mode, on the CPU.

    Args:
        checkpoints: The folds' checkpoints.
        model: See `load_final`.

    Raises:
        CheckpointError: See `load_final`.
    """
    return Ensemble([load_classifier(path, model) for path in checkpoints]).eval()


def fold_checkpoints(run: FinishedRun) -> list[Path]:
    """Return the checkpoints of a run's folds, in their order.

    Raises:
        RunError: The folds' weights were not kept (``--keep final``).
    """
    if run.settings.train.keep == "final":
        raise RunError(
            run.folder,
            "kept the weights of its final model only (--keep final)",
            hint="metrics.json and predictions.csv hold the folds' results; train with --keep all",
        )
    numbers = sorted(int(path.name.removeprefix("fold-")) for path in run.folder.glob("fold-*"))
    return [run.folder / f"fold-{number}" / CHECKPOINT_FILE for number in numbers]
