"""Writer of a run's ``report.html``: results, settings and origin on one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tcssa.config.presets import DEFAULT_METHOD
from tcssa.mil.reporting.metric_names import titles, written
from tcssa.mil.reporting.published_figures import Expectation, expectations
from tcssa.mil.reporting.score_tables import (
    cohort_rows,
    interval,
    number,
    survival_rows,
    target_sections,
)
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import is_plain, task_of_metrics
from tcssa.reports.html_page import Figure, Section, write_page

REPORT_FILE = "report.html"

_CAPTIONS = {
    "training.png": "Every fold, epoch by epoch; a dot is the epoch that was kept",
    "utilisation.png": "Share of the training patches that each slot takes, at the epoch kept",
}


def write_report(
    out: Path, settings: MilSettings, metrics: Mapping[str, Any], run: Mapping[str, Any]
) -> None:
    """Write a run's page, atomically.

    Args:
        out: The run directory; its plots are put into the page.
        settings: The settings of the run.
        metrics: The content of ``metrics.json``.
        run: The content of ``run.json``.
    """
    sections = list(_sections(out, settings, metrics, run))
    title = f"{out.name}: {settings.model.name} on {settings.dataset or 'your slides'}"
    write_page(out / REPORT_FILE, title, sections)


def _sections(
    out: Path, settings: MilSettings, metrics: Mapping[str, Any], run: Mapping[str, Any]
) -> Iterator[Section]:
    pooled, task = metrics["pooled"], task_of_metrics(metrics)
    yield Section(
        "What was found",
        f"{pooled['num_slides']} test slides of {pooled['num_cases']} patients, "
        f"{task.sentence()}. Each was predicted by the fold that did not know its patient. "
        "Intervals are of a bootstrap by patient; mean and SD over folds say how much trainings "
        "differ, and are no interval.",
        rows=list(_figures(metrics, task)),
        notes=task.meanings,
    )
    if stated := expectations(settings, metrics):
        yield _expected(stated)
    yield from target_sections(pooled, task.headline)
    for target, lookup in _lookups(metrics["site_lookup"]).items():
        yield Section(f"Sites {target}".strip(), _site_text(lookup))
    yield Section(
        "Folds",
        "Of each fold the epoch with the lowest validation loss was kept; then its test slides "
        "were predicted, once.",
        rows=list(_folds(metrics, task)),
    )
    captions = {out / "plots" / name: text for name, text in (task.captions | _CAPTIONS).items()}
    yield Section(
        "Pictures",
        "",
        figures=[Figure(path, text) for path, text in captions.items() if path.exists()],
    )
    yield Section(
        "What to do next",
        "RUN is this folder.",
        code="\n".join(_next_commands(settings.model.name, task)),
    )
    yield Section("What it was made from", "", facts=list(_origins(run)))
    yield Section(
        "Settings",
        "As config.resolved.yaml has them; --config takes that file.",
        code=yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False),
    )


def _expected(stated: Sequence[Expectation]) -> Section:
    return Section(
        "What others state",
        "Published figures of this method on this dataset, as fractions. They are of other splits "
        "than this run's, so a difference is no proof of anything by itself.",
        rows=[
            ["", "here, pooled (95 %)", "stated"],
            *([row.name, row.here, row.figure.fraction] for row in stated),
        ],
        notes=[
            f"{row.figure.text} ({row.name}): stated by {row.statement.source}; "
            f"{row.statement.caveat}."
            for row in stated
        ],
    )


def _next_commands(method: str, task: MilTask) -> list[str]:
    """List commands that can follow a run; some are for tcssa runs only."""
    commands = [
        "tcssa compare RUN OTHER-RUN --out COMPARISON          # on the same test slides",
        "tcssa eval RUN --labels CSV --features DIR            # on a cohort it has never seen",
    ]
    if method == DEFAULT_METHOD:
        commands.append(
            "tcssa export RUN --format onnx --out ARTEFACT         # to encode an archive"
        )
    if method == DEFAULT_METHOD and is_plain(task):
        look = "tcssa inspect slots RUN --slides SLIDES --out SLOTS   # what the slots hold"
        commands.insert(0, look)
    return commands


def _figures(metrics: Mapping[str, Any], task: MilTask) -> Iterator[list[str]]:
    pooled = metrics["pooled"]
    yield ["", "pooled", "95 % interval", "folds, mean ± SD"]
    for name, label in titles(task.metrics, task.headline).items():
        spread = metrics["over_folds"][name]
        folds = number(spread["mean"])
        if spread["sd"] is not None:
            folds += f" ± {spread['sd']:.3f}"
        yield [label, number(pooled[name]["value"]), interval(pooled[name]), folds]
    for name, figure in survival_rows(pooled):
        yield [name, figure, "", ""]


def _lookups(stated: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """Return the lookups of sites by target; that of a lone label has an empty name."""
    if not stated:
        return {}
    return {"": stated} if "num_slides" in stated else stated


def _folds(metrics: Mapping[str, Any], task: MilTask) -> Iterator[list[str]]:
    shown = list(titles(task.metrics, task.headline))[:2]
    yield [
        "fold",
        "epoch",
        "validation loss",
        *(f"test {written(name)}" for name in shown),
        "slots in use",
        "slides",
    ]
    for fold in metrics["folds"]:
        yield [
            str(fold["fold"]),
            str(fold["best_epoch"]),
            number(fold["val_loss"]),
            *(number(fold["test"][name]) for name in shown),
            number(fold["effective_slots"], digits=1),
            str(fold["num_test_slides"]),
        ]


def _site_text(lookup: Mapping[str, Any]) -> str:
    return (
        f"Looking up a slide's site tells its label on {lookup['right']} of {lookup['num_slides']} "
        f"test slides whose site was seen in training; the commonest class does on "
        f"{lookup['right_by_majority']}."
    )


def _origins(run: Mapping[str, Any]) -> Iterator[list[str]]:
    yield from cohort_rows(run["cohort"])
    yield ["the run stands for", f"{run['selected']} ({run['selected_by']})"]
    yield ["checkpoint SHA-256", str(run["checkpoint_sha256"])]
    if run.get("init_sha256"):
        yield ["weights to start from, SHA-256", str(run["init_sha256"])]
    if rounding := run.get("rounding"):
        change = f"{rounding['largest_change']:.1e}"
        yield ["features rounded to", f"float16; no value changed by more than {change}"]
        for slide, reason in rounding["left_as_they_are"].items():
            yield ["not rounded", f"{slide}: {reason}"]
    for slide, reason in run["skipped"].items():
        yield ["left out", f"{slide}: {reason}"]
