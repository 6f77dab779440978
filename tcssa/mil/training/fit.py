"""Training of one fold: the loop, the choice of the epoch, and resuming a killed run.

After every epoch the average of the last epochs' weights is validated, and the average with the
lowest loss is kept: with few validation slides, the choice among averages depends less on chance.
Every epoch draws its order, noise and dropout from (seed, fold, epoch), so a run resumed at any
checkpoint ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcssa.compressor.balance import RoutingSums
from tcssa.compressor.checkpoint import require_fit
from tcssa.compute.devices import resolve_device
from tcssa.errors import CheckpointError
from tcssa.files import atomic
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.torch_file import read_torch_file
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import build_classifier
from tcssa.mil.classifier.classify_bags import check_coords, classify, predict
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import Cohort, CohortSlide
from tcssa.mil.cohort.splits import Fold
from tcssa.mil.results.history import Epoch, SlotUse
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks.prediction import Prediction
from tcssa.mil.training.nested import choose_share
from tcssa.mil.training.prototypes import begin_gate, write_prototypes
from tcssa.mil.training.rates import paced, set_rates
from tcssa.reporter import Task
from tcssa.training import Interval, autocast, require_finite, seeded_number

PROGRESS_FILE = "progress.pt"


@dataclass
class Progress:
    """The state of a fold's training after a whole epoch."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    best_state: dict[str, Tensor] = field(default_factory=dict)
    last_states: list[dict[str, Tensor]] = field(default_factory=list)
    """Weights after each of the last epochs; their average is validated."""

    @property
    def best(self) -> Epoch:
        """The epoch with the lowest validation loss so far."""
        return self.epochs[self.best_epoch]


class _SlotSums:
    """Sums over the routing of an epoch's patches, batch by batch."""

    def __init__(self) -> None:
        self._sums: list[RoutingSums] = []
        self._losses: list[float] = []

    def add(self, routing: RoutingSums, balance_loss: float) -> None:
        """Add a step.

        Args:
            routing: Sums over the patches of the step.
            balance_loss: Balance loss of the step.
        """
        self._sums.append(routing)
        self._losses.append(balance_loss)

    def use(self, top_k: int) -> SlotUse | None:
        """Return the epoch's summary; None for a method without slots."""
        if not self._sums:
            return None
        aux_excess = sum(self._losses) / len(self._losses) - top_k
        return SlotUse.of(reduce(RoutingSums.merge, self._sums), aux_excess)


class FoldFit:
    """The training of one fold, from the start or from its last checkpoint.

    Args:
        cohort: The cohort that the slides belong to.
        fold: The slides for training, validation and test; `self.fold` has them as bags.
        index: Number of the fold; part of its seed.
        settings: Settings of the run.
        folder: The fold's folder, which holds the checkpoint.
        store: Reads the features.
    """

    def __init__(
        self,
        cohort: Cohort,
        fold: Fold,
        index: int,
        settings: MilSettings,
        folder: Path,
        store: BagStore,
    ) -> None:
        self.cohort, self.index = cohort, index
        self.fold = Fold(*(cohort.bags(part) for part in (fold.train, fold.val, fold.test)))
        self.name = f"fold {index}"
        self.settings, self.folder, self.store = settings, folder, store
        self.train = settings.train
        self.device = resolve_device(self.train.device)
        self.task = cohort.task.fitted(self.fold.train)
        if self.train.class_weights == "balanced":
            self.task = self.task.weighted(self.fold.train)
        self._seed("weights")
        model = build_classifier(settings.model, cohort.feature_dim, self.task, cohort.encoder)
        check_coords(model, cohort.bags(cohort.slides))
        self.model = model.to(self.device)
        self.optimiser = torch.optim.AdamW(
            paced(self.model, self.train.salience_pace),
            lr=self.train.lr,
            weight_decay=self.train.weight_decay,
            fused=True,
        )
        self.progress = Progress()

    def run(self, task: Task) -> Progress:
        """Train until the last epoch or until patience ends, and load the best weights."""
        self._resume()
        if not self.progress.epochs:
            self._begin()
        task.skip(len(self.progress.epochs))  # made before this call: they tell no speed
        until_checkpoint = Interval(self.train.checkpoint_every_s)
        while not self._finished():
            epoch = self._train_epoch(len(self.progress.epochs))
            self._remember(epoch)
            in_use = f", {epoch.slots.effective_slots:.0f} slots in use" if epoch.slots else ""
            task.describe(f"{self.name}: {self._losses(epoch)}{in_use}")
            task.advance()
            if until_checkpoint.is_over():
                self._save()
                until_checkpoint.restart()
        self.model.load_state_dict(self.progress.best_state)
        if self.nested is not None:
            compressor, share = self.nested.compressor, self._choose_share(self.nested)
            compressor.config = compressor.config.model_copy(update={"auto_share": share})
        return self.progress

    def _choose_share(self, nested: SlideClassifier) -> float:
        """Choose what an automatic budget of slots keeps, on the validation slides."""
        return choose_share(nested, self.fold.val, self.store)

    def _losses(self, epoch: Epoch) -> str:
        """Return an epoch's losses for the progress display."""
        return f"val loss {epoch.val_loss:.3f}, best {self.progress.best.val_loss:.3f}"

    @property
    def nested(self) -> SlideClassifier | None:
        """The model if it learns nested budgets, else None."""
        model = self.model
        if isinstance(model, SlideClassifier) and model.compressor.config.nested:
            return model
        return None

    def _begin(self) -> None:
        """Set the gate to prototypes, if the settings ask for it."""
        settings = self.settings.model
        is_fresh = settings.init is None and isinstance(self.model, SlideClassifier)
        if not (settings.prototypes and is_fresh):
            return
        assert isinstance(self.model, SlideClassifier)
        seed = self._number("prototypes") % 2**31
        slides = [slide for bag in self.fold.train for slide in bag.slides]
        found = begin_gate(self.model, slides, self.store, seed)
        if found:
            write_prototypes(self.folder, found)

    def _finished(self) -> bool:
        done = len(self.progress.epochs)
        return done >= self.train.epochs or (
            done > 0 and done - 1 - self.progress.best_epoch >= self.train.patience
        )

    def _train_epoch(self, number: int) -> Epoch:
        self._seed(f"epoch {number}")
        self.model.train()
        order = self._order()
        batches = list(_batched([self.fold.train[i] for i in order], self.train.batch_size))
        losses = []
        slots = _SlotSums()
        for step, (slides, bags) in enumerate(self.store.batches(batches)):
            self._draw_budget(f"epoch {number} step {step}")
            done = (number * len(batches) + step) / (self.train.epochs * len(batches))
            set_rates(self.optimiser, self.train.lr, done)
            self.optimiser.zero_grad()
            with autocast(self.device, self.train.precision):
                labels = self.task.targets(slides).to(self.device)
                on_device = [bag.to(self.device, non_blocking=True) for bag in bags]
                output = classify(self.model, slides, on_device, self.store, labels)
                loss = self.model.loss(output, labels)
            total = loss
            if output.routing is not None:
                balance = output.routing.balance_loss()
                total = loss + self.train.aux_weight * balance
                slots.add(output.routing.detach(), float(balance.detach()))
            torch.autograd.backward(total)
            self.optimiser.step()
            losses.append(self._finite(float(loss.detach()), number))
        self._draw_budget(None)
        with self._averaged():
            val_loss, val_scores = self._validate(number)
        return Epoch(
            epoch=number,
            train_loss=sum(losses) / len(losses),
            val_loss=val_loss,
            val_scores=val_scores,
            slots=slots.use(self.settings.model.top_k),
        )

    def _validate(self, number: int) -> tuple[float, dict[str, float | None]]:
        """Return loss and headline score of the validation slides, with the weights loaded."""
        val = self.predict(self.fold.val)
        loss = self._finite(self.task.validation_loss(val), number)
        return loss, {self.task.headline: self.task.headline_score(val)}

    def _draw_budget(self, step: str | None) -> None:
        """Draw a step's budget of slots; without a step, use all."""
        if self.nested is not None:
            budgets = self.nested.compressor.config.budgets
            drawn = None if step is None else self._number(f"budget {step}") % len(budgets)
            self.nested.budget = None if drawn is None else budgets[drawn]

    def predict(self, slides: Sequence[CohortSlide], fold: int | None = None) -> list[Prediction]:
        """Predict slides with the weights that are loaded.

        Args:
            slides: The slides, in the order of the predictions.
            fold: Number of the fold that is noted in the predictions.
        """
        return predict(self.model, slides, self.store, self.device, self.train.precision, fold)

    def _order(self) -> list[int]:
        """Draw the order of an epoch's slides: each once, or classes equally often if balanced."""
        slides = self.fold.train
        if not self.train.balanced_sampling:
            return torch.randperm(len(slides)).tolist()
        counts = Counter(slide.label for slide in slides)
        chances = torch.tensor([1 / counts[slide.label] for slide in slides])
        return torch.multinomial(chances, len(slides), replacement=True).tolist()

    def _finite(self, loss: float, epoch: int) -> float:
        where = f"{self.name} diverged in epoch {epoch}"
        return require_finite(loss, where, self.train.lr)

    def _remember(self, epoch: Epoch) -> None:
        progress = self.progress
        progress.epochs.append(epoch)
        if progress.best_epoch < 0 or epoch.val_loss < progress.best.val_loss:
            progress.best_epoch = epoch.epoch
            progress.best_state = average(progress.last_states)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Load the average of the model's last weights within a ``with`` block."""
        states = self.progress.last_states
        states.append({n: v.detach().clone() for n, v in self.model.state_dict().items()})
        del states[: -self.train.average]
        self.model.load_state_dict(average(states))
        yield
        self.model.load_state_dict(states[-1])

    def _seed(self, purpose: str) -> None:
        torch.manual_seed(self._number(purpose))

    def _number(self, purpose: str) -> int:
        return seeded_number(self.train.seed, self.index, purpose)

    def _save(self) -> None:
        content = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": [epoch.model_dump() for epoch in self.progress.epochs],
            "best_epoch": self.progress.best_epoch,
            "best_state": self.progress.best_state,
            "last_states": self.progress.last_states,
        }
        # serialised in memory first: on a full disk torch's own writer raises no specific error
        serialised = io.BytesIO()
        torch.save(content, serialised)
        # no view of it, which Python 3.12 crashes on collecting after an error; nothing is copied
        atomic.write_bytes(self.folder / PROGRESS_FILE, serialised.getvalue())

    def _resume(self) -> None:
        path = self.folder / PROGRESS_FILE
        if path.exists():
            self._read_progress(path)

    def _read_progress(self, path: Path) -> None:
        with reading(path, CheckpointError, hint="remove it to train this fold again"):
            content: dict[str, Any] = read_torch_file(path, CheckpointError)
            expected = self.model.state_dict()
            last_states = content.get("last_states", [])
            if len(last_states) != min(self.train.average, len(content["epochs"])):
                raise UnsoundError("it lacks weights of its last epochs")
            for state in (content["model"], content["best_state"], *last_states):
                require_fit(expected, state, path)
            self.model.load_state_dict(content["model"])
            paces = [group["pace"] for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(content["optimiser"])
            for group, pace in zip(self.optimiser.param_groups, paces, strict=True):
                group["pace"] = pace  # which runs of before do not state
            if not _fits(self.optimiser):
                raise UnsoundError("its optimiser is of another model")
            if content["best_epoch"] not in range(len(content["epochs"])):
                raise UnsoundError("its best epoch is none of its epochs")
            self.progress = Progress(
                epochs=[Epoch.model_validate(epoch) for epoch in content["epochs"]],
                best_epoch=content["best_epoch"],
                best_state={n: v.to(self.device) for n, v in content["best_state"].items()},
                last_states=[
                    {name: value.to(self.device) for name, value in state.items()}
                    for state in last_states
                ],
            )


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average the weights of several epochs; integer values are taken from the last epoch."""
    return {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if value.is_floating_point() and len(states) > 1
        else value.clone()
        for name, value in states[-1].items()
    }


def _fits(optimiser: torch.optim.Optimizer) -> bool:
    """Tell whether every moment has its parameter's shape, which torch does not check."""
    return all(
        value.dim() == 0 or value.shape == parameter.shape
        for parameter, state in optimiser.state.items()
        for value in state.values()
        if isinstance(value, Tensor)
    )


def _batched(slides: Sequence[CohortSlide], size: int) -> Iterator[Sequence[CohortSlide]]:
    for begin in range(0, len(slides), size):
        yield slides[begin : begin + size]
