"""The final model of a run: one model that has learnt from all patients.

The folds' figures estimate it: it is trained as they are, but on the slides of all parts. Nothing
is left to choose an epoch on, so it is trained for the median of the epochs that the folds kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tcssa.compressor.checkpoint import config_from_facts, read_tensors
from tcssa.errors import RunError, counted
from tcssa.files import atomic
from tcssa.files.text import read_model
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import Cohort
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.results.finished import FINAL_FOLDER
from tcssa.mil.results.history import Epoch, write_history
from tcssa.mil.results.metrics_file import FinalModel
from tcssa.mil.settings import MilSettings
from tcssa.mil.training.fit import PROGRESS_FILE, FoldFit, average
from tcssa.mil.training.fold_results import FoldResult, save_model
from tcssa.reporter import Reporter, Task
from tcssa.run import CHECKPOINT_FILE

_FACTS_FILE = "final.json"


class FinalFit(FoldFit):
    """Training on all slides for a number of epochs that the folds have found.

    The learning rate falls as in a fold, towards the last of ``train.epochs``, and the weights of
    the last epochs are averaged likewise.

    Args:
        cohort: The cohort of the run.
        folds: Its folds; slides that stand in none of them take no part.
        settings: Settings of the run.
        folder: The run directory.
        store: Reads the features.
        epochs: Epochs to train for.
    """

    def __init__(
        self,
        cohort: Cohort,
        folds: Sequence[Fold],
        settings: MilSettings,
        folder: Path,
        store: BagStore,
        epochs: int,
    ) -> None:
        used = {s.slide_id for fold in folds for s in (*fold.train, *fold.val, *fold.test)}
        slides = [slide for slide in cohort.slides if slide.slide_id in used]
        self.epochs, self.fold_folders = epochs, [folder / f"fold-{i}" for i in range(len(folds))]
        fold, index = Fold(slides, [], []), len(folds)
        super().__init__(cohort, fold, index, settings, folder / FINAL_FOLDER, store)
        self.name = "final model"

    def _finished(self) -> bool:
        return len(self.progress.epochs) >= self.epochs

    def _validate(self, number: int) -> tuple[float, dict[str, float | None]]:
        return math.nan, {}

    def _remember(self, epoch: Epoch) -> None:
        progress = self.progress
        progress.epochs.append(epoch)
        progress.best_epoch, progress.best_state = epoch.epoch, average(progress.last_states)

    def _losses(self, epoch: Epoch) -> str:
        return f"loss {epoch.train_loss:.3f}"

    def _choose_share(self, nested: SlideClassifier) -> float:
        """Return the median of the shares that the folds chose on validation slides."""
        shares = []
        for folder in self.fold_folders:
            path = folder / CHECKPOINT_FILE
            shares.append(config_from_facts(read_tensors(path)[1], path).auto_share)
        return median(share for share in shares if share is not None)


def train_final(
    cohort: Cohort,
    folds: Sequence[Fold],
    results: Sequence[FoldResult],
    settings: MilSettings,
    out: Path,
    store: BagStore,
    reporter: Reporter,
    task: Task,
) -> FinalModel:
    """Train the final model, or read its facts if an earlier call has trained it.

    Args:
        cohort: The cohort of the run.
        folds: Its folds.
        results: Results of the folds.
        settings: Settings of the run.
        out: The run directory; the model goes to its folder ``final``.
        store: Reads the features.
        reporter: Told of the epochs it was trained for.
        task: The training of the whole run, of which this is the last part.

    Raises:
        RunError: The facts that an earlier call wrote are damaged.
        DivergedError: The loss became infinite.
    """
    folder = out / FINAL_FOLDER
    if (folder / _FACTS_FILE).exists():
        (folder / PROGRESS_FILE).unlink(missing_ok=True)
        task.skip(settings.train.epochs)
        return read_model(folder / _FACTS_FILE, RunError, FinalModel)
    folder.mkdir(exist_ok=True)
    atomic.discard_leftovers(folder)
    epochs = round(median(result.best_epoch + 1 for result in results))
    fit = FinalFit(cohort, folds, settings, out, store, epochs)
    fit.run(task)
    task.skip(settings.train.epochs - epochs)
    save_model(fit, folder)
    write_history(folder, fit.progress.epochs)
    slides = [slide for bag in fit.fold.train for slide in bag.slides]
    final = FinalModel(
        epochs=epochs,
        num_slides=len(slides),
        num_cases=len({slide.case_id for slide in slides}),
    )
    atomic.write_text(folder / _FACTS_FILE, final.model_dump_json() + "\n")
    (folder / PROGRESS_FILE).unlink(missing_ok=True)
    reporter.note(
        f"final model: trained on all {counted(len(slides), 'slide')} for "
        f"{counted(epochs, 'epoch')}, the median of the "
        "folds'; the folds' figures estimate it"
    )
    return final
