"""A finished run as a model of slides: its final model, and its folds beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tcssa.compute.devices import resolve_device
from tcssa.files.checksums import file_sha256
from tcssa.mil.bags.familiar import FAMILIAR_FILE, Familiar
from tcssa.mil.bags.rounding import to_half
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.classifier.classify_bags import check_coords
from tcssa.mil.classifier.ensemble import Ensemble
from tcssa.mil.classifier.final_model import fold_checkpoints, load_final
from tcssa.mil.methods import BagClassifier
from tcssa.mil.prediction.doubts import doubts_about
from tcssa.mil.prediction.slide_model import GivenSlide, Outputs, ReadSlide
from tcssa.mil.results.finished import FINAL_FOLDER, FinishedRun
from tcssa.reporter import Reporter
from tcssa.run import CHECKPOINT_FILE
from tcssa.training import autocast


class RunModel:
    """See `SlideModel`; of every method that train-mil trains.

    Args:
        run: The run.
        reporter: Warned where the folds' weights are gone.
        device: Device to predict on.
        model: The run's method, if it is the user's own code (``module:factory``).

    Raises:
        CheckpointError: A checkpoint is damaged, or names code that ``model`` does not name.
    """

    def __init__(
        self,
        run: FinishedRun,
        reporter: Reporter,
        *,
        device: str = "auto",
        model: str | None = None,
    ) -> None:
        self.run, self.device = run, resolve_device(device)
        self.final: BagClassifier = load_final(run, model)
        """What predicts; an ensemble where no final model was trained."""
        folds = _folds_kept(run, reporter)
        self.final.to(self.device).eval()
        self._is_mean = isinstance(self.final, Ensemble)  # its outputs are the mean of the folds'
        if isinstance(self.final, Ensemble):
            members: Sequence[BagClassifier] = self.final.classifiers
        else:
            members = [load_classifier(path, model) for path in folds]
        self._folds: list[BagClassifier] = [member.to(self.device) for member in members]
        self.is_rounded, self._precision = run.is_rounded, run.settings.train.precision
        self._familiar = Familiar.read(run.folder, run.feature_dim)
        self.name = f"{run.folder.resolve().name}, {_named(self._is_mean, len(self._folds))}"
        self.task = self.final.task
        self.feature_dim, self.encoder = run.feature_dim, run.encoder
        self.num_folds, self.unit = len(self._folds), run.settings.cohort.unit
        files = [*folds, run.folder / FINAL_FOLDER / CHECKPOINT_FILE, run.folder / FAMILIAR_FILE]
        hashes = [f"{f.relative_to(run.folder)} {file_sha256(f)}" for f in files if f.exists()]
        self.sha256 = hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def doubts(self, slides: Sequence[GivenSlide]) -> list[str]:
        """See `SlideModel.doubts`."""
        return doubts_about(self.run, slides)

    @torch.no_grad()
    def predict(self, slide: ReadSlide) -> Outputs:
        """See `SlideModel.predict`."""
        bag = self._bag(slide)
        places = None
        if slide.corners is not None:
            um = slide.slide.um_per_coord or 1.0
            places = torch.from_numpy(slide.corners.astype(np.float64) * um)
        folds = [self._outputs(fold, bag, places, slide) for fold in self._folds]
        if self._is_mean:
            final = torch.stack(folds).mean(0)
        else:
            final = self._outputs(self.final, bag, places, slide)
        unlike = None if self._familiar is None else self._familiar.unlike(slide.features)
        return Outputs(final.tolist(), [fold.tolist() for fold in folds], unlike)

    def _bag(self, slide: ReadSlide) -> Tensor:
        """Return the features as training saw such: rounded, where it rounded."""
        features = slide.features
        if self.is_rounded:
            rounded = to_half(features)
            features = rounded.features if rounded.too_large_row is None else features
        return torch.from_numpy(features).to(self.device)

    def _outputs(
        self, model: BagClassifier, bag: Tensor, places: Tensor | None, slide: ReadSlide
    ) -> Tensor:
        check_coords(model, [slide.slide])
        with autocast(self.device, self._precision):
            found = model([bag], None, [places]) if model.reads_coords else model([bag])
        factor, shift = model.task.scale_on(self.task)  # each fold has a scale of its own
        own = found.logits[0].float().cpu()
        outputs: Tensor = own * own.new_tensor(factor) + own.new_tensor(shift)
        return outputs


def _folds_kept(run: FinishedRun, reporter: Reporter) -> list[Path]:
    """Return the checkpoints of the folds; an empty list where some are gone."""
    if run.settings.train.keep == "final":
        return []
    paths = fold_checkpoints(run)
    missing = [path for path in paths if not path.is_file()]
    if missing and run.settings.train.final == "refit":
        reporter.warn(f"{missing[0]} is gone: how far the folds agree cannot be told")
        return []
    return paths


def _named(is_mean: bool, num_folds: int) -> str:
    return f"mean of {num_folds} folds" if is_mean else "final model"
