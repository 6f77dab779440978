"""Fitting a slide language model: the loop, its checkpoints, and several processes.

A step's rows are cut into micro-batches, numbered from 0. The processes take turns at them, and
accelerate exchanges the gradients with a step's last backward pass, so a process that finds no
micro-batch left takes part with one that counts nothing. Each micro-batch's loss is a sum, divided
by the number of targets of the whole step, so the gradient is the mean over all targets however the
step was cut. Noise and dropout of a micro-batch follow from (seed, step, micro-batch). So neither
the number of processes nor a kill changes what is computed, but for the order of summation.

Batches, rates and random numbers follow from the step's number; `tcssa.vqa.training.progress` keeps
the rest.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.compute.processes import Processes, all_there
from tcssa.reporter import Reporter, Task
from tcssa.run import ONE_FOLDER_HINT
from tcssa.training import Interval, require_finite, rise_and_fall, seeded_number
from tcssa.vqa.model.model import Batch, Output, SlideLanguageModel
from tcssa.vqa.settings import VqaTrainSettings
from tcssa.vqa.training.acceleration import make_accelerator, share_held, whole
from tcssa.vqa.training.batches import collate, epoch_batches
from tcssa.vqa.training.history import Record
from tcssa.vqa.training.packing import collate_packed, packs
from tcssa.vqa.training.progress import (
    Progress,
    checkpoint_tensors,
    load_weights,
    read_progress,
    trained_parameters,
    write_progress,
)
from tcssa.vqa.training.rows import Row
from tcssa.vqa.training.samples import count_right

RECORDS_PER_EPOCH = 50
_NOTE_EVERY_S = 60.0


class VqaFit:
    """Trains a model, from the start or from its last checkpoint.

    Args:
        model: The model, its trainable parts marked, on this process's device.
        train: Rows to learn.
        val: Rows that choose the step that is kept; without any the last step is kept.
        visual: Gives the visual tokens [V, D], or patch features [N, D], of a row's slides.
        pad_id: A token to pad with.
        settings: How to train.
        folder: The folder of the checkpoint.
        processes: The processes that train together, and the device of this one.
        encoded: True if ``visual`` gives tokens; else it gives patch features.
        pack_length: Tokens of a micro-batch of packed rows; None stacks and pads rows.
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
        pack_length: int | None = None,
    ) -> None:
        self.encoded, self.pack_length = encoded, pack_length
        self.model, self.train, self.visual, self.pad_id = model, train, visual, pad_id
        self.val = sorted(val, key=lambda row: row.length)
        self.settings, self.folder, self.processes = settings, folder, processes
        self.accelerator = make_accelerator(model, settings, folder, processes)
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.progress = Progress()
        self._epoch_order: tuple[int, list[list[int]]] = (-1, [])

    def run(self, reporter: Reporter) -> Progress:
        """Train to the end; leaves the weights with the best validation loss loaded."""
        self._prepare(reporter)
        self._take_up()
        until_note = Interval(_NOTE_EVERY_S)
        until_checkpoint = Interval(self.settings.checkpoint_every_s)
        with reporter.task("training", self.total_steps, "steps") as task:
            task.advance(self.progress.step)
            while self.progress.step < self.total_steps:
                self._step()
                task.advance()
                if self._is_due():
                    self._record(task)
                if until_note.is_over():
                    reporter.note(self._status())
                    until_note.restart()
                if self._is_over_for_all(until_checkpoint):
                    self._save()
                    until_checkpoint.restart()
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False)
        for tracker in self.accelerator.trackers:  # end_training would leave the processes, too
            tracker.finish()
        if self.progress.best_step is not None:
            self.processes.wait()
            load_weights(self.parameters, *self.read_kept(self.progress.best_step))
        return self.progress

    def _is_over_for_all(self, interval: Interval) -> bool:
        """Tell whether the first process's interval is over: sharded, all must save together."""
        over = self.processes.is_main and interval.is_over()
        told = torch.tensor(float(over), device=self.processes.device)
        return bool(self.processes.sum([told])[0])

    def _prepare(self, reporter: Reporter) -> None:
        """Give model and optimiser to accelerate; sharding replaces the parameters."""
        groups = _parameter_groups(trained_parameters(self.model), self.settings)
        adamw = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay)
        with self._together(), warnings.catch_warnings():
            # torch 2.13 has another name for it, which accelerate does not know yet
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.prepared, self.optimiser = self.accelerator.prepare(self.model, adamw)
        self.parameters = trained_parameters(self.model)
        if self.settings.shard:
            share = share_held(self.model)
            reporter.note(f"sharded: this process holds {share:.0%} of the weights")

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
        self.prepared.train()
        _let_frozen_layers_checkpoint(self.model)
        sums = torch.zeros(2, dtype=torch.float64, device=self.processes.device)
        for turn in self._my_turns(rows):
            self._seed(f"step {self.progress.step} micro-batch {turn.number}")
            output = self._compute(turn)
            loss = output.loss_sum / num_targets
            sums[0] += turn.counts * output.loss_sum.detach()
            if output.aux_loss is not None:
                share = len(turn.rows) / len(rows)
                loss = loss + self.settings.aux_weight * share * output.aux_loss
                sums[1] += turn.counts * share * output.aux_loss.detach()
            with self._exchanging(last=turn.is_last):
                # gradients are averaged over the processes, and are to be summed
                self.accelerator.backward(loss * turn.counts * self.processes.count)
        loss_sum, aux_loss = self.processes.sum([sums])[0].tolist()
        self._require_finite(loss_sum)
        if self.settings.clip_norm:
            weights, limit = self.prepared.parameters(), self.settings.clip_norm
            with self._together():
                self.accelerator.clip_grad_norm_(weights, limit)
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

    def _my_turns(self, rows: Sequence[Row]) -> Iterator[_Turn]:
        """Yield this process's share of the micro-batches; all processes have as many turns."""
        size, processes = self.settings.micro_batch_size, self.processes
        if self.pack_length is None:
            parts = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
        else:
            parts = packs(rows, self.pack_length)
        num_rounds = math.ceil(len(parts) / processes.count)
        for number in range(num_rounds):
            mine = number * processes.count + processes.index
            counts = mine < len(parts)
            part = parts[mine if counts else 0]
            yield _Turn(mine, part, int(counts), number == num_rounds - 1)

    def _compute(self, turn: _Turn) -> Output:
        with self._together(), self.accelerator.autocast():
            output: Output = self.prepared(self._batch(turn.rows))
        return output

    @contextmanager
    def _exchanging(self, *, last: bool) -> Iterator[None]:
        """Exchange gradients in the block if it is the last of a step, else only add them up."""
        with self._together():
            if last:
                yield
            else:
                with self.accelerator.no_sync(self.prepared):
                    yield

    def _together(self) -> AbstractContextManager[None]:
        """Return a context in which a failure is the other processes', if there are any."""
        return all_there() if self.processes.count > 1 else nullcontext()

    def _batch(self, rows: Sequence[Row]) -> Batch:
        if self.pack_length is None:
            batch = collate(rows, self.visual, self.pad_id, encoded=self.encoded)
        else:
            batch = collate_packed(rows, self.visual, encoded=self.encoded)
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
        val_loss, val_accuracy = self._validate() if self._validates() else (None, None)
        record = Record(
            step=progress.step,
            epoch=progress.step / self.steps_per_epoch,
            train_loss=progress.loss_sum / progress.num_targets,
            aux_loss=progress.aux_sum / progress.num_steps if self._has_aux() else None,
            lr=self.settings.peak_lr * self._rate(progress.step - 1),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            tokens_per_s=progress.tokens_per_s,
        )
        progress.records.append(record)
        told = record.model_dump(exclude={"step"}, exclude_none=True)
        self.accelerator.log(told, step=record.step)
        progress.loss_sum, progress.num_targets = 0.0, 0
        progress.aux_sum, progress.num_steps = 0.0, 0
        task.describe(self._status())
        if val_loss is not None:
            self._keep_if_good(val_loss)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Return the cross-entropy per target token and the share of right validation rows."""
        self.prepared.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.processes.device)
        for turn in self._my_turns(self.val):
            output = self._compute(turn)
            sums[0] += turn.counts * output.loss_sum
            sums[1] += turn.counts * count_right(output.logits, turn.rows)
        loss_sum, num_right = self.processes.sum([sums])[0].tolist()
        self._require_finite(loss_sum)
        return loss_sum / sum(row.num_targets for row in self.val), num_right / len(self.val)

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
            + (f"{last.val_accuracy:.0%} right, " if last.val_accuracy is not None else "")
            + f"{progress.tokens_per_s:,.0f} tokens/s, {left / 60:.0f} min left"
        )

    def _has_aux(self) -> bool:
        return any(name.startswith(_COMPRESSOR) for name in self.parameters)

    def _require_finite(self, loss: float) -> None:
        where = f"the training diverged at step {self.progress.step}"
        require_finite(loss, where, self.settings.peak_lr)

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

    def _kept_file(self, step: int) -> Path:
        return self.folder / f"best-{step}.safetensors"

    def _keep_if_good(self, val_loss: float) -> None:
        """Keep these weights if they are among the best; the checkpoint that says so is written."""
        progress = self.progress
        found = {**progress.kept, progress.step: val_loss}
        ranked = sorted(found, key=lambda step: (found[step], step))
        good = ranked[: self.settings.keep_checkpoints]
        if progress.step not in good:
            return
        progress.kept = {step: found[step] for step in good}
        tensors = self.whole_tensors()
        if self.processes.is_main:
            write_tensors(self._kept_file(progress.step), tensors, {})
        self._save()
        if self.processes.is_main:
            for step in ranked[len(good) :]:
                self._kept_file(step).unlink(missing_ok=True)

    def read_kept(self, step: int) -> tuple[dict[str, Tensor], Path]:
        """Read the weights that were kept of a step, and name their file."""
        path = self._kept_file(step)
        return read_tensors(path)[0], path

    def whole_tensors(self) -> dict[str, Tensor]:
        """Return the trained weights as they are, whole; all processes must call this."""
        return {name: whole(value.detach()) for name, value in self.parameters.items()}

    def _save(self) -> None:
        tensors = checkpoint_tensors(self.parameters, self.optimiser)
        if self.processes.is_main:
            write_progress(self.folder, self.progress, tensors)

    def _take_up(self) -> None:
        found = read_progress(self.folder, self.parameters, self.optimiser)
        if found is not None:
            self.progress = found
        stands = f"step {self.progress.step}"
        self.processes.require_same("checkpoints", stands, ONE_FOLDER_HINT)


class _Turn(NamedTuple):
    """A micro-batch that a process computes."""

    number: int
    """Of the micro-batch in its step, from 0."""
    rows: Sequence[Row]
    counts: int
    """1, or 0 where there is none left for this process, and it only takes part."""
    is_last: bool


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
