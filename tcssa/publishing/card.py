"""Model cards: what a model was made from, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tcssa.artefact import Artefact
from tcssa.compressor import LoadedCompressor
from tcssa.encoders.registry import EncoderFacts, list_encoders
from tcssa.errors import counted
from tcssa.mil.reporting.metric_names import titles
from tcssa.mil.results.finished import FinishedRun
from tcssa.mil.results.metrics_file import RunMetrics, read_metrics
from tcssa.mil.settings import MilSettings
from tcssa.plugins import is_imported
from tcssa.publishing.model_files import ModelFiles
from tcssa.reports.html_page import interval, number
from tcssa.run import read_run

LIBRARY = "tcssa"
_TAGS = [LIBRARY, "computational-pathology", "whole-slide-images", "multiple-instance-learning"]
_SOMEWHERE = "hf:OWNER/NAME"
"""The address in the commands of a card that is not pushed."""
Rows = list[tuple[str, str]]
Source = FinishedRun | Artefact | LoadedCompressor


def model_card(model: ModelFiles, address: str | None = None, name: str | None = None) -> str:
    """Write the card of a model in Markdown, with the front matter that the hub reads.

    Args:
        model: The model and its files.
        address: Where it is on the hub, for the commands that use it; None if it is nowhere yet.
        name: Its name, the card's title; by default that of its folder.

    Returns:
        The card.

    Raises:
        FileError: A file of the model is damaged.
    """
    source = model.source
    encoder = _encoder(source.encoder)
    metrics = read_metrics(source.folder) if isinstance(source, FinishedRun) else None
    front: dict[str, Any] = {"library_name": LIBRARY, "tags": [*_TAGS, model.kind]}
    if encoder is not None and encoder.repo is not None:
        front["base_model"] = encoder.repo
    if metrics is not None:
        front["metrics"] = list(titles(metrics.pooled, metrics.task.headline))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, which the hub makes safe
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "interval": interval, "counted": counted}
    environment.filters["cell"] = _cell
    return environment.get_template("card.md").render(
        front=yaml.safe_dump(front, sort_keys=False),
        name=name or _folder(source).resolve().name,
        address=address or _SOMEWHERE,
        kind=model.kind,
        facts=list(_facts(source)),
        **_of_run(source, metrics),
        metrics=metrics,
        encoder=encoder,
        encoder_name=source.encoder,
        files=sorted(model.checksums().items()),
    )


def _of_run(source: Source, metrics: RunMetrics | None) -> dict[str, Any]:
    """Return what the card of a run says beyond those of other models, by name in the template."""
    if not isinstance(source, FinishedRun) or metrics is None:
        return {"data": [], "splits": [], "tables": [], "decisions": [], "own_code": False}
    return {
        "data": list(_data(source, metrics)),
        "splits": _splits(source.settings),
        "bag": _bag(source),
        "tables": list(_tables(metrics)),
        "decisions": list(_decisions(metrics)),
        "own_code": is_imported(source.settings.model.name),
    }


def _cell(text: object) -> str:
    """Put a text into the cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", r"\|")


def _folder(source: Source) -> Path:
    if isinstance(source, FinishedRun):
        return source.folder
    return source.path.parent if isinstance(source, LoadedCompressor) else Path("artefact")


def _encoder(name: str | None) -> EncoderFacts | None:
    """Return what is known of an encoder; None of one that is not in the catalogue."""
    return next((facts for facts in list_encoders() if facts.name == name), None)


def _facts(source: Source) -> Iterator[tuple[str, str]]:
    if isinstance(source, FinishedRun):
        model = source.settings.model
        yield "method", model.name
        if model.name == "tcssa":
            yield "recipe", source.settings.recipe
            yield "slots K", str(model.num_slots)
        yield "labels", f"{source.task.kind}: {', '.join(source.task.label_names)}"
        yield "stands for the run", str(read_run(source.folder)["selected_by"])
        yield "checkpoint SHA-256", source.checkpoint_sha256
    elif isinstance(source, Artefact):
        yield "graph", f"{source.what}, {source.graph}, {source.format}"
        if source.classes:
            yield "classes", ", ".join(source.classes)
        yield "slots K", str(source.num_slots)
        yield "length of a patch feature D", str(source.feature_dim)
        yield "precision", ", ".join(f"{stage} {kind}" for stage, kind in source.precision.items())
        yield (
            "compared with torch",
            f"{source.parity.status}; tolerance {source.parity.tolerance:g}",
        )
        yield "exported from the checkpoint of SHA-256", source.checkpoint_sha256
    else:
        config = source.model.config
        yield "slots K", str(config.num_slots)
        yield "slots of a patch", str(config.top_k)
        yield "length of a patch feature D", str(config.patch_dim)
        yield "length of a slot", str(config.feature_dim)
        yield "hidden width of an expert", str(config.hidden_dim)
        yield "checkpoint SHA-256", source.sha256


def _bag(run: FinishedRun) -> str:
    """Return what a row of the run's predictions is called."""
    return "bag" if run.settings.cohort.unit == "case" else "slide"


def _data(run: FinishedRun, metrics: RunMetrics) -> Iterator[tuple[str, str]]:
    cohort, content = run.fingerprint, read_run(run.folder)
    if run.settings.dataset is not None:
        yield "preset", run.settings.dataset
    yield "cohort", f"{counted(cohort['slides'], 'slide')}, {counted(cohort['patches'], 'patch')}"
    if run.settings.cohort.unit == "case":
        yield "one bag", "all slides of a patient"
    if confusion := metrics.pooled.get("confusion"):
        sizes = zip(metrics.task.label_names, map(sum, confusion), strict=True)
        yield f"tested {_bag(run)}s by label", ", ".join(f"{name} {size}" for name, size in sizes)
    for name, what in (("skipped", "left out, with a reason"), ("unused", "in no fold")):
        if content.get(name):
            yield what, counted(len(content[name]), "slide")
    yield "features", f"D = {run.feature_dim}" + (", rounded to float16" if run.is_rounded else "")
    for name, value in run.extraction.stated().items():
        yield f"patches: {name.replace('_', ' ')}", str(value)
    yield "labels, SHA-256", str(cohort["labels_sha256"])
    yield "features, hash", str(cohort["features_hash"])


def _splits(settings: MilSettings) -> Rows:
    split, train = settings.split, settings.train
    if split.files is not None:
        rows = [("splits", f"official, {split.files.name}")]
    else:
        rows = [("splits", f"{split.scheme}, drawn by seed {train.seed}")]
        rows.append(("never divided between parts", split.group_by))
        rows.append(("folds", f"{train.folds}" + f" × {split.repeats}" * (split.repeats > 1)))
        if split.scheme == "monte-carlo":
            shares = f"{split.test_share:g}, {split.val_share:g}"
            rows.append(("shares for test and validation", shares))
    return [*rows, ("epochs at most", str(train.epochs)), ("final model", train.final)]


def _tables(metrics: RunMetrics) -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """Yield a title, and of each metric its name, figure, interval, and mean ± SD over folds."""
    headline = metrics.task.headline
    targets: Mapping[str, Any] = metrics.pooled.get("targets", {})
    for title, scores in (("", metrics.pooled), *targets.items()):
        rows = []
        for metric, label in titles(scores or {}, headline).items():
            spread = metrics.over_folds.get(metric) if not title else None
            folds = "–"
            if spread is not None and spread.mean is not None:
                folds = f"{number(spread.mean)} ± {number(spread.sd)}"
            score = scores[metric]
            rows.append((label, number(score["value"]), interval(score), folds))
        if rows:
            yield title, rows


def _decisions(metrics: RunMetrics) -> Iterator[tuple[str, str, str, str]]:
    """Yield of each label its threshold, its temperature, and on how many slides they rest."""
    for target, found in metrics.calibration.items():
        threshold = "–"
        if found.threshold is not None:
            threshold = f"{number(found.threshold)} ({found.rule})"
        yield target, threshold, number(found.temperature), str(found.num_slides)
