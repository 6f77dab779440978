"""A whole training: rows prepared, parts fitted, and everything in a run directory.

::

    RUN/
      run.json                what the run is, and from what it was made
      config.resolved.yaml    every setting that was in force
      skipped.csv             rows that were left out, and why
      history.csv             losses, answers right, rates and speed over the steps
      metrics.json            the step that was kept, its losses, counts, speed
      report.html             all of it to look at, with answers of the trained model
      plots/loss.png, …       training and validation loss; answers right, rate and speed
      slots/ …                the slot cache, if it has no other place
      checkpoints/step-N/     other validated steps that were kept, each a model of its own
      tracking/               files of --track
      vqa.json, …             the model, see `tcssa.vqa.model.run`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from tcssa.compute.devices import has_bf16
from tcssa.compute.processes import Processes, joined
from tcssa.config.settings import read_resolved, section_of, write_resolved
from tcssa.config.settings_diff import differences
from tcssa.errors import RunError, counted
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256
from tcssa.files.text import read_json, validated
from tcssa.hub import is_hub_address, local_model
from tcssa.reporter import Reporter, Silent
from tcssa.run import ONE_FOLDER_HINT, shows_run, write_run
from tcssa.training import begun_run, changed_settings, require_unchanged
from tcssa.vqa.data.slide_index import warn_of_chosen
from tcssa.vqa.model.model_setup import Parts, load_parts
from tcssa.vqa.model.slot_cache import (
    SLOTS_FOLDER,
    Fault,
    SlotCache,
    collecting,
    feature_tensor,
)
from tcssa.vqa.settings import VqaSettings, inherited
from tcssa.vqa.training.batches import warn_of_links
from tcssa.vqa.training.corpus import Candidates, Corpus, make_corpus, read_candidates
from tcssa.vqa.training.fit import VqaFit
from tcssa.vqa.training.history import plot_course, plot_history, write_history
from tcssa.vqa.training.memory import fit_into_memory
from tcssa.vqa.training.packing import require_packable
from tcssa.vqa.training.progress import (
    PROGRESS_FILE,
    Progress,
    load_weights,
    trained_parameters,
)
from tcssa.vqa.training.report_page import write_report_page
from tcssa.vqa.training.requirements import (
    require_attention,
    require_inherited,
    require_shards,
    require_sources,
)
from tcssa.vqa.training.rows import Row, count_dropped, describe_dropped
from tcssa.vqa.training.samples import Sample, draw_samples
from tcssa.vqa.training.tracking import require_tracker, start_tracking
from tcssa.vqa.training.utilisation import flops_a_token, utilisation

KIND = "train-vqa"
METRICS_FILE = "metrics.json"
CHECKPOINTS_FOLDER = "checkpoints"
_FREE_TO_CHANGE = {
    "corpus": ("data", "val_data", "features"),
    "visual": ("compressor", "slot_cache", "use_slot_cache"),
    "llm": ("llm", "allow_hub", "gradient_checkpointing", "attention"),
    "train": ("from_run", "device", "checkpoint_every_s", "shard", "track"),
}
"""Settings that a resumed run may change: of files their content counts, not where they lie, and
the others do not define the result."""


def train(settings: VqaSettings, out: Path, reporter: Reporter) -> dict[str, Any]:
    """Train a slide language model, or go on where an earlier call was cut short.

    Every process of a `torchrun` calls this; the first of them writes.

    Args:
        settings: Settings of the training.
        out: The run directory.
        reporter: Shows progress, and warns of rows that were left out.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UsageError: Data, features, compressor or a run to start from are missing, or what is asked
            for does not go together.
        MissingExtraError: The package of the tracker is not installed.
        RunError: ``out`` holds a run of other settings, or made from other files.
        DroppedRowsError: Too many rows cannot be used.
        SplitError: A patient stands in training and validation.
        DivergedError: The loss is no longer finite.
        DeviceError: The device is not available.
        ProcessesError: Another process of the training is gone.
    """
    settings = _with_local_compressor(settings.resolved(), reporter)
    require_sources(settings)
    require_inherited(settings)
    require_tracker(settings.train.track)
    with joined(settings.train.device) as processes:
        reporter = reporter if processes.is_main else Silent()
        settings = _with_precision(settings, out, processes.device, reporter)
        require_attention(settings, processes.device)
        _say_changes(settings, reporter)
        return _train(settings, out, reporter, processes)


def _with_local_compressor(settings: VqaSettings, reporter: Reporter) -> VqaSettings:
    """Name the copy on this machine of a compressor on the hub, whose path says its commit."""
    if not is_hub_address(settings.visual.compressor):
        return settings
    folder = local_model(str(settings.visual.compressor), reporter)
    visual = settings.visual.model_copy(update={"compressor": folder})
    return settings.model_copy(update={"visual": visual})


def _with_precision(
    settings: VqaSettings, out: Path, device: torch.device, reporter: Reporter
) -> VqaSettings:
    """Settle the precision that was left open: of a run that was begun its own, else the device's.

    Raises:
        RunError: ``out`` holds a run of another kind, or a damaged one.
    """
    if settings.train.precision != "auto":
        return settings
    if begun_run(out, KIND) is None:
        precision = "bf16" if has_bf16(device) else "fp32"
        reporter.note(f"precision {precision}: chosen for the device, {device.type}")
    else:
        precision = read_resolved(out, VqaSettings, RunError).train.precision
    train = settings.train.model_copy(update={"precision": precision})
    return settings.model_copy(update={"train": train})


def _train(
    settings: VqaSettings, out: Path, reporter: Reporter, processes: Processes
) -> dict[str, Any]:
    """Run one process of `train`."""
    writes = processes.is_main
    begun = _begun(settings, out)
    require_shards(settings, processes.count)
    parts = load_parts(settings, processes.device)
    if settings.train.pack:
        require_packable(parts.model)
    processes.share_parameters(parts.model.visual)  # k-means may differ between machines
    rows = read_candidates(settings, parts)
    made_from = {**_file_hashes(settings), **parts.fingerprint(), **rows.fingerprint()}
    _require_same(begun, out, made_from)
    if begun is not None and begun.get("complete"):
        reporter.note(f"{out} is complete already; nothing to do")
        return read_metrics(out)
    processes.wait()  # no process may write before all have looked
    if writes:
        out.mkdir(parents=True, exist_ok=True)
        atomic.discard_leftovers(out)
    visual, faulty = _visual_source(settings, parts, rows, out, processes, reporter)
    corpus = make_corpus(settings, rows, faulty, out if writes else None)
    made_from |= corpus.fingerprint()
    run = {"kind": KIND, "stage": settings.train.stage, "made_from": made_from}
    _require_same(begun, out, made_from)
    _begin(settings, out, run, processes)
    _warn_of_rows(settings, rows, corpus, reporter)
    fit = VqaFit(
        parts.model,
        corpus.train,
        corpus.val,
        visual,
        parts.pad_id,
        settings.train,
        out,
        processes,
        encoded=parts.caches_tokens,
        pack_length=settings.corpus.max_length if settings.train.pack else None,
    )
    fit_into_memory(parts.model, corpus.train, settings, fit.accelerator, processes, reporter)
    start_tracking(fit.accelerator, out, settings)
    progress = fit.run(reporter)
    tensors = fit.whole_tensors()
    processes.wait()  # all have read the best weights, whose file goes now
    metrics = _metrics(settings, corpus, fit, progress, parts)
    if writes:
        saved = _save_models(settings, parts, fit, tensors, out)
        shown = corpus.val or corpus.train
        samples = draw_samples(saved, shown, visual, encoded=parts.caches_tokens)
        _write_results(out, settings, progress, metrics, samples)
        _complete(out, run)
    processes.wait()
    return metrics


def _begin(settings: VqaSettings, out: Path, run: dict[str, Any], processes: Processes) -> None:
    """Say in the folder that a run is begun, and see that all processes have this folder."""
    processes.wait()
    if processes.is_main:
        write_resolved(settings, out)
        write_run(out, {**run, "complete": False})
    processes.wait()
    processes.require_same("run folders", shows_run(out), ONE_FOLDER_HINT)


def _complete(out: Path, run: dict[str, Any]) -> None:
    """Say that a run is complete, and remove what only going on with it needs."""
    write_run(out, {**run, "complete": True})
    for leftover in (out / PROGRESS_FILE, *out.glob("best-*.safetensors")):
        leftover.unlink(missing_ok=True)


def _write_results(
    out: Path,
    settings: VqaSettings,
    progress: Progress,
    metrics: dict[str, Any],
    samples: Sequence[Sample],
) -> None:
    """Write what is to be read and looked at of a training that has ended."""
    write_history(out / "history.csv", progress.records)
    plot_history(out / "plots" / "loss.png", progress.records, progress.best_step)
    plot_course(out / "plots" / "course.png", progress.records)
    facts = settings.model_dump(mode="json")
    write_report_page(out, metrics, progress.records, samples, facts)
    atomic.write_text(out / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")


def _save_models(
    settings: VqaSettings, parts: Parts, fit: VqaFit, tensors: Mapping[str, Tensor], out: Path
) -> Parts:
    """Write the model of the best step, and each other one that was kept as a run of its own.

    Returns:
        The parts with the best step's weights, whole.
    """
    if settings.train.shard:  # each process holds a part of the weights only
        parts = load_parts(settings, torch.device("cpu"))
    parameters = trained_parameters(parts.model)
    kept = list(fit.progress.kept)
    for step in kept[1:]:
        folder = out / CHECKPOINTS_FOLDER / f"step-{step}"
        load_weights(parameters, *fit.read_kept(step))
        parts.save(folder, settings)
        write_resolved(settings, folder)
    load_weights(parameters, *(fit.read_kept(kept[0]) if kept else (tensors, out)))
    parts.save(out, settings)
    return parts


class _Metrics(BaseModel):
    """The part of a run's ``metrics.json`` that is shown."""

    stage: int
    steps: int
    best_step: int | None
    val_loss: float | None
    train_loss: float
    rows: dict[Literal["train", "val"], int] = Field(min_length=2)
    dropped: dict[str, int]
    trained: dict[str, int]
    tokens_per_s: float


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read a run's ``metrics.json``.

    Raises:
        RunError: The file is missing or damaged.
    """
    path = folder / METRICS_FILE
    content: dict[str, Any] = read_json(path, RunError, top=dict)
    validated(content, path, RunError, _Metrics)
    return content


def _warn_of_rows(
    settings: VqaSettings, rows: Candidates, corpus: Corpus, reporter: Reporter
) -> None:
    """Tell which rows are left out, which slides are chosen, and where patients are linked."""
    if corpus.dropped:
        reporter.warn(
            f"{counted(len(corpus.dropped), 'row')} left out: {describe_dropped(corpus.dropped)}"
        )
    warn_of_chosen(rows.num_chosen, settings.corpus.several, reporter)
    if settings.corpus.val_data is None:
        wanted, seed = settings.corpus.val_fraction, settings.train.seed
        warn_of_links(corpus.train, corpus.val, wanted, seed, reporter)


def _say_changes(settings: VqaSettings, reporter: Reporter) -> None:
    """Tell where precision, or what several slides become, is not as in the run it comes from."""
    run = settings.train.from_run
    if run is None:
        return
    told = inherited({"train": {"from_run": run}})
    before = told["train"]["precision"]
    if before != settings.train.precision:
        reporter.warn(
            f"the language model is {settings.train.precision}, {run} was trained in {before}"
        )
    before, now = told["corpus"]["several"], settings.corpus.several
    if before != now:
        reporter.note(f"--several {now}; {run} was trained with {before}")


def _begun(settings: VqaSettings, out: Path) -> dict[str, Any] | None:
    """Return the run that was begun in the folder, if any; one of other settings is an error."""
    run = begun_run(out, KIND)
    if run is not None:
        require_unchanged(out, changed_settings(out, settings, _FREE_TO_CHANGE))
        _require_same(run, out, _file_hashes(settings))
    return run


def _file_hashes(settings: VqaSettings) -> dict[str, str | None]:
    files = {"data_sha256": settings.corpus.data, "val_data_sha256": settings.corpus.val_data}
    return {name: None if path is None else file_sha256(path) for name, path in files.items()}


def _require_same(run: dict[str, Any] | None, out: Path, facts: dict[str, Any]) -> None:
    """Require that a run that was begun was made from these things, as far as they are told."""
    if run is not None:
        made_from = section_of(run, "made_from")
        require_unchanged(out, differences({name: made_from.get(name) for name in facts}, facts))


def _visual_source(
    settings: VqaSettings,
    parts: Parts,
    rows: Candidates,
    out: Path,
    processes: Processes,
    reporter: Reporter,
) -> tuple[Callable[[Row], Tensor], dict[Path, Fault]]:
    """Return what gives a row's visual input, and the slides that have none.

    The input is tokens from the cache, which is filled here, or the slide's features. Each process
    looks at a part of the slides.
    """
    encoder = parts.model.visual
    faulty: dict[Path, Fault] = {}
    if parts.caches_tokens:
        cache = SlotCache(settings.visual.slot_cache or out / SLOTS_FOLDER, encoder)
        share = {"rank": processes.index, "num_ranks": processes.count}
        cache.fill(rows.parts, reporter, faulty=faulty, **share)
    else:
        mine = rows.paths[processes.index :: processes.count]
        with reporter.task("looking at features", len(mine), "slides") as task:
            for path in mine:
                with collecting(path, faulty):
                    feature_tensor(path, encoder.patch_dim)
                task.advance()
    found = {path: fault for (each,) in processes.gather([faulty]) for path, fault in each.items()}
    if parts.caches_tokens:
        return lambda row: torch.cat([cache.tokens(part) for part in row.parts]), found
    return lambda row: torch.cat(
        [feature_tensor(path, encoder.patch_dim) for path in row.paths]
    ), found


def _metrics(
    settings: VqaSettings, corpus: Corpus, fit: VqaFit, progress: Progress, parts: Parts
) -> dict[str, Any]:
    kept = [record for record in progress.records if record.step == progress.best_step]
    processes, a_token = fit.processes, flops_a_token(parts.model)
    return {
        "stage": settings.train.stage,
        "steps": progress.step,
        "best_step": progress.best_step,
        "val_loss": progress.best_val_loss,
        "val_accuracy": kept[0].val_accuracy if kept else None,
        "train_loss": progress.records[-1].train_loss,
        "rows": {"train": len(corpus.train), "val": len(corpus.val)},
        "slides": {"train": _num_slides(corpus.train), "val": _num_slides(corpus.val)},
        "targets_per_epoch": sum(row.num_targets for row in corpus.train),
        "dropped": count_dropped(corpus.dropped),
        "trained": fit.count_parameters(),
        "tokens_per_s": progress.tokens_per_s,
        "mfu": utilisation(
            a_token,
            progress.tokens_per_s,
            processes.device,
            settings.train.precision,
            processes.count,
        ),
        "seconds": progress.seconds,
    }


def _num_slides(rows: Sequence[Row]) -> int:
    return len({path for row in rows for path in row.paths})
