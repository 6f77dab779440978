"""Fitting a slide language model: the loop, its checkpoints, and several processes.

A step's rows are cut into micro-batches, numbered from 0. The processes take turns at them, and the
gradients are summed over micro-batches and processes. Each micro-batch's loss is a sum, divided by
the number of targets of the whole step, so the gradient is the mean over all targets however the
step was cut. Noise and dropout of a micro-batch follow from (seed, step, micro-batch). So neither
the number of processes nor a kill changes what is computed, but for the order of summation.

Batches, rates and random numbers follow from the step's number; `tcssa.vqa.training.progress` keeps
the rest.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.compute.devices import memory_of
from tcssa.compute.processes import Processes
from tcssa.reporter import Reporter, Task
from tcssa.run import ONE_FOLDER_HINT
from tcssa.training import autocast, require_finite, rise_and_fall, seeded_number
from tcssa.vqa.model.model import Batch, SlideLanguageModel
from tcssa.vqa.settings import VqaTrainSettings
from tcssa.vqa.training.batches import collate, epoch_batches
from tcssa.vqa.training.history import Record
from tcssa.vqa.training.memory import estimate_memory
from tcssa.vqa.training.progress import Progress, load_weights, read_progress, write_progress
from tcssa.vqa.training.rows import Row

RECORDS_PER_EPOCH = 50
_NOTE_EVERY_S = 60.0
_USABLE = 0.9
"""Share of a device's memory that the estimate may fill: the rest is for what it does not see."""


class VqaFit:
    """Trains a model, from the start or from its last checkpoint.

    Args:
        model: The model, its trainable parts marked, on this process's device.
        train: Rows to learn.
        val: Rows that choose the step that is kept; without any the last step is kept.
        visual: Gives the visual tokens [V, D], or patch features [N, D], of a row's slide.
        pad_id: A token to pad with.
        settings: How to train.
        folder: The folder of the checkpoint.
        processes: The processes that train together, and the device of this one.
        encoded: True if ``visual`` gives tokens; else it gives patch features.
    """

    def __init__(
        self,
        model: SlideLanguageModel,
        train: Sequence[Row],
        val: Sequence[Row],
        visual: Callable[[Row], Tensor],
        pad_id: int,
        settings: VqaTrainSettings,
        folder: Path,
        processes: Processes,
        *,
        encoded: bool = False,
    ) -> None:
        self.encoded = encoded
        self.model, self.train, self.visual, self.pad_id = model, train, visual, pad_id
        self.val = sorted(val, key=lambda row: row.length)
        self.settings, self.folder, self.processes = settings, folder, processes
        self.parameters = {
            name: value for name, value in model.named_parameters() if value.requires_grad
        }
        self.optimiser = torch.optim.AdamW(
            _parameter_groups(self.parameters, settings), weight_decay=settings.weight_decay
        )
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.progress = Progress()
        self._epoch_order: tuple[int, list[list[int]]] = (-1, [])

    def run(self, reporter: Reporter) -> Progress:
        """Train to the end; leaves the weights with the best validation loss loaded."""
        self._take_up()
        saved_at = noted_at = time.monotonic()
        with reporter.task("training", self.total_steps, "steps") as task:
            task.advance(self.progress.step)
            while self.progress.step < self.total_steps:
                self._step()
                task.advance()
                if self._is_due():
                    self._record(task)
                if time.monotonic() - noted_at >= _NOTE_EVERY_S:
                    reporter.note(self._status())
                    noted_at = time.monotonic()
                if time.monotonic() - saved_at >= self.settings.checkpoint_every_s:
                    self._save()
                    saved_at = time.monotonic()
        if self.progress.best_step is not None:
            self._load_best()
        return self.progress

    def fit_into_memory(
        self, checkpointing: Literal["auto", "on", "off"], reporter: Reporter
    ) -> None:
        """Say how much memory the training needs, and compute activations twice if it must be so.

        Args:
            checkpointing: Do so in any case, never, or where the memory would not suffice.
            reporter: Told of the estimate, and warned where nothing suffices.
        """
        memory = estimate_memory(
            self.model, self.train, self.settings.micro_batch_size, self._autocast()
        )
        available = memory_of(self.processes.device)
        room = math.inf if available is None else _USABLE * available
        twice = checkpointing == "on"
        if checkpointing == "auto":
            twice = memory.total(checkpointing=False) > room
        if twice:
            self.model.checkpoint_activations()
        reporter.note(memory.describe(available, checkpointing=twice))
        if memory.total(checkpointing=twice) > room:
            reporter.warn(
                "the memory may not suffice: give a smaller --micro-batch-size or --max-length"
                + ("" if twice else ", or --gradient-checkpointing auto")
                + ("" if self.settings.precision == "bf16" else ", or --precision bf16")
            )

    def count_parameters(self) -> dict[str, int]:
        """Count the trainable numbers of each part."""
        parts: Counter[str] = Counter()
        for name, parameter in self.parameters.items():
            parts[name.split(".")[0]] += parameter.numel()
        return dict(parts)

    def _step(self) -> None:
        begin = time.perf_counter()
        rows = self._rows_of(self.progress.step)
        num_targets = sum(row.num_targets for row in rows)
        self._set_rates()
        self.optimiser.zero_grad()
        self.model.train()
        _let_frozen_layers_checkpoint(self.model)
        sums = torch.zeros(2, dtype=torch.float64, device=self.processes.device)
        for index, part in self._my_micro_batches(rows):
            self._seed(f"step {self.progress.step} micro-batch {index}")
            with self._autocast():
                output = self.model(self._batch(part))
            loss = output.loss_sum / num_targets
            sums[0] += output.loss_sum.detach()
            if output.aux_loss is not None:
                share = len(part) / len(rows)
                loss = loss + self.settings.aux_weight * share * output.aux_loss
                sums[1] += share * output.aux_loss.detach()
            loss.backward()
        self.processes.sum_gradients(self.parameters.values())
        loss_sum, aux_loss = self.processes.sum([sums])[0].tolist()
        self._require_finite(loss_sum)
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm)
        self.optimiser.step()
        progress = self.progress
        progress.step += 1
        progress.num_steps += 1
        progress.loss_sum += loss_sum
        progress.aux_sum += aux_loss
        progress.num_targets += num_targets
        progress.total_tokens += sum(row.length for row in rows)
        progress.seconds += time.perf_counter() - begin

    def _rows_of(self, step: int) -> list[Row]:
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch_order[0] != epoch:
            lengths = [row.length for row in self.train]
            order = epoch_batches(lengths, self.settings.batch_size, self.settings.seed, epoch)
            self._epoch_order = (epoch, order)
        return [self.train[i] for i in self._epoch_order[1][place]]

    def _my_micro_batches(self, rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
        """Yield this process's share of a step's micro-batches, with their numbers."""
        size, processes = self.settings.micro_batch_size, self.processes
        for index, begin in enumerate(range(0, len(rows), size)):
            if index % processes.count == processes.index:
                yield index, rows[begin : begin + size]

    def _batch(self, rows: Sequence[Row]) -> Batch:
        batch = collate(rows, self.visual, self.pad_id, encoded=self.encoded)
        return batch.to(self.processes.device)

    def _is_due(self) -> bool:
        """Tell whether this step ends with a record."""
        every = max(1, self.steps_per_epoch // RECORDS_PER_EPOCH)
        return self.progress.step % every == 0 or self._validates()

    def _validates(self) -> bool:
        step = self.progress.step
        every = self.settings.validate_every or self.steps_per_epoch
        return bool(self.val) and (step % every == 0 or step == self.total_steps)

    def _record(self, task: Task) -> None:
        progress = self.progress
        val_loss = self._validate() if self._validates() else None
        record = Record(
            step=progress.step,
            epoch=progress.step / self.steps_per_epoch,
            train_loss=progress.loss_sum / progress.num_targets,
            aux_loss=progress.aux_sum / progress.num_steps if self._has_aux() else None,
            lr=self.settings.peak_lr * self._rate(progress.step - 1),
            val_loss=val_loss,
        )
        progress.records.append(record)
        progress.loss_sum, progress.num_targets = 0.0, 0
        progress.aux_sum, progress.num_steps = 0.0, 0
        task.describe(self._status())
        best = math.inf if progress.best_val_loss is None else progress.best_val_loss
        if val_loss is not None and val_loss < best:
            self._keep_as_best(val_loss)

    @torch.no_grad()
    def _validate(self) -> float:
        """Compute the cross-entropy per target token of the validation rows."""
        self.model.eval()
        sums = torch.zeros(1, dtype=torch.float64, device=self.processes.device)
        for _, part in self._my_micro_batches(self.val):
            with self._autocast():
                sums[0] += self.model(self._batch(part)).loss_sum
        loss_sum = float(self.processes.sum([sums])[0])
        self._require_finite(loss_sum)
        return loss_sum / sum(row.num_targets for row in self.val)

    def _status(self) -> str:
        progress = self.progress
        if not progress.records:
            return f"training: step {progress.step} of {self.total_steps}"
        last = progress.records[-1]
        best = progress.best_val_loss
        left = (self.total_steps - progress.step) * progress.seconds / progress.step
        return (
            f"training: step {progress.step} of {self.total_steps}, loss {last.train_loss:.3f}, "
            + (f"best validation {best:.3f}, " if best is not None else "")
            + f"{progress.tokens_per_s:,.0f} tokens/s, {left / 60:.0f} min left"
        )

    def _has_aux(self) -> bool:
        return any(name.startswith(_COMPRESSOR) for name in self.parameters)

    def _require_finite(self, loss: float) -> None:
        where = f"the training diverged at step {self.progress.step}"
        require_finite(loss, where, self.settings.peak_lr)

    def _autocast(self) -> torch.autocast:
        return autocast(self.processes.device, self.settings.precision)

    def _set_rates(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * self._rate(self.progress.step)

    def _rate(self, step: int) -> float:
        """Return the learning rate as a share of its peak."""
        total = self.total_steps
        rise, fall = rise_and_fall((step + 1) / total, self.settings.warmup, step, total)
        return rise * fall

    def _seed(self, purpose: str) -> None:
        torch.manual_seed(seeded_number(self.settings.seed, purpose))

    def _best_file(self, step: int | None) -> Path:
        return self.folder / f"best-{step}.safetensors"

    def _keep_as_best(self, val_loss: float) -> None:
        """Keep these weights; the checkpoint that names their file is written at once."""
        progress = self.progress
        before, progress.best_step = progress.best_step, progress.step
        progress.best_val_loss = val_loss
        if self.processes.is_main:
            write_tensors(self._best_file(progress.best_step), self.parameters, {})
        self._save()
        if self.processes.is_main and before is not None:
            self._best_file(before).unlink(missing_ok=True)

    def _load_best(self) -> None:
        self.processes.wait()
        path = self._best_file(self.progress.best_step)
        tensors, _ = read_tensors(path)
        load_weights(self.parameters, tensors, path)

    def _save(self) -> None:
        if self.processes.is_main:
            write_progress(self.folder, self.progress, self.parameters, self.optimiser)

    def _take_up(self) -> None:
        found = read_progress(self.folder, self.parameters, self.optimiser)
        if found is not None:
            self.progress = found
        stands = f"step {self.progress.step}"
        self.processes.require_same("checkpoints", stands, ONE_FOLDER_HINT)


_COMPRESSOR = "visual.compressor."


def _parameter_groups(
    parameters: dict[str, nn.Parameter], settings: VqaTrainSettings
) -> list[dict[str, Any]]:
    """Group the parameters, so that the compressor learns at its own rate."""
    compressor = [value for name, value in parameters.items() if name.startswith(_COMPRESSOR)]
    others = [value for name, value in parameters.items() if not name.startswith(_COMPRESSOR)]
    groups = [(others, settings.peak_lr), (compressor, settings.compressor_lr)]
    return [{"params": params, "peak_lr": rate, "lr": rate} for params, rate in groups if params]


def _let_frozen_layers_checkpoint(model: nn.Module) -> None:
    """Make gradient checkpointing work in a frozen language model.

    Its layers recompute activations only in training mode, and a frozen model is in evaluation
    mode. So the layers themselves are put in training mode; the modules inside them, dropout
    included, stay in evaluation mode.
    """
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
