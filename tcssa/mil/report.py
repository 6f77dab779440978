"""``report.html``: what a run found, how, and from what, on one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tcssa.mil.expected import Expectation, expectations
from tcssa.mil.settings import MilSettings
from tcssa.page import Figure, Section, write_page
from tcssa.presets import DEFAULT_METHOD

REPORT_FILE = "report.html"

_NAMES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "auprc": "AUPRC",
    "brier": "Brier score (low is good)",
    "calibration_error": "calibration error (low is good)",
    "weighted_kappa": "weighted kappa, if classes are grades",
}
_MEANINGS = (
    "AUC: how often a slide of the class scores above one of another class; with more than two "
    "classes the mean of each against the rest. 0.5 is chance.",
    "Balanced accuracy and macro F1: means over classes, so that a rare class counts as much as a "
    "common one. AUPRC: area under precision and recall; chance is the share of the class.",
    "Brier score: squared distance of the probabilities from the truth, 0 to 2. Calibration error: "
    "how far probabilities lie from what comes true, over ten bins.",
)
_CAPTIONS = {
    "roc.png": "ROC of all test slides, each predicted by a fold that did not know its patient",
    "confusion.png": "All test slides: counts, and colour by the share of the true class",
    "training.png": "Every fold, epoch by epoch; a dot is the epoch that was kept",
    "utilisation.png": "Share of the training patches that each slot takes, at the epoch kept",
}


def write_report(
    out: Path, settings: MilSettings, metrics: Mapping[str, Any], run: Mapping[str, Any]
) -> None:
    """Write a run's page, atomically.

    Args:
        out: The run directory; its plots are put into the page.
        settings: What was in force.
        metrics: The content of ``metrics.json``.
        run: The content of ``run.json``.
    """
    sections = list(_sections(out, settings, metrics, run))
    title = f"{out.name}: {settings.model.name} on {settings.dataset or 'your slides'}"
    write_page(out / REPORT_FILE, title, sections)


def _sections(
    out: Path, settings: MilSettings, metrics: Mapping[str, Any], run: Mapping[str, Any]
) -> Iterator[Section]:
    pooled = metrics["pooled"]
    yield Section(
        "What was found",
        f"{pooled['num_slides']} test slides of {pooled['num_cases']} patients, classes "
        f"{'; '.join(metrics['classes'])}. Intervals are of a bootstrap by patient; mean and SD "
        "over folds say how much trainings differ, and are no interval.",
        rows=list(_figures(metrics)),
        notes=_MEANINGS,
    )
    if stated := expectations(settings, metrics):
        yield _expected(stated)
    if metrics["site_lookup"]:
        yield Section("Sites", _site_text(metrics["site_lookup"]))
    yield Section(
        "Folds",
        "Of each fold the epoch with the lowest validation loss was kept; then its test slides "
        "were predicted, once.",
        rows=list(_folds(metrics)),
    )
    pictures = [out / "plots" / name for name in _CAPTIONS]
    yield Section(
        "Pictures",
        "",
        figures=[Figure(path, _CAPTIONS[path.name]) for path in pictures if path.exists()],
    )
    yield Section(
        "What to do next",
        "RUN is this folder.",
        code="\n".join(_next_commands(settings.model.name)),
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


def _next_commands(method: str) -> list[str]:
    """What one may do with a run; slots and artefacts are of tcssa runs."""
    commands = [
        "tcssa compare RUN OTHER-RUN --out COMPARISON          # on the same test slides",
        "tcssa eval RUN --labels CSV --features DIR            # on a cohort it has never seen",
    ]
    if method == DEFAULT_METHOD:
        commands = [
            "tcssa inspect slots RUN --slides SLIDES --out SLOTS   # what the slots hold",
            *commands,
            "tcssa export RUN --format onnx --out ARTEFACT         # to encode an archive",
        ]
    return commands


def _figures(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["", "pooled", "95 % interval", "folds, mean ± SD"]
    for name, label in _NAMES.items():
        score, spread = metrics["pooled"][name], metrics["over_folds"][name]
        interval = ""
        if score["low"] is not None:
            interval = f"{score['low']:.3f} – {score['high']:.3f}"
        folds = _number(spread["mean"])
        if spread["sd"] is not None:
            folds += f" ± {spread['sd']:.3f}"
        yield [label, _number(score["value"]), interval, folds]


def _folds(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    yield [
        "fold",
        "epoch",
        "validation loss",
        "test AUC",
        "balanced accuracy",
        "slots in use",
        "slides",
    ]
    for fold in metrics["folds"]:
        yield [
            str(fold["fold"]),
            str(fold["best_epoch"]),
            _number(fold["val_loss"]),
            _number(fold["test"]["auc"]),
            _number(fold["test"]["balanced_accuracy"]),
            _number(fold["effective_slots"], digits=1),
            str(fold["num_test_slides"]),
        ]


def _site_text(lookup: Mapping[str, Any]) -> str:
    return (
        f"Looking up a slide's site tells its label on {lookup['right']} of {lookup['num_slides']} "
        f"test slides whose site was seen in training; the commonest class does on "
        f"{lookup['right_by_majority']}."
    )


def _origins(run: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in run["cohort"].items():
        text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield [name.replace("_", " "), text]
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


def _number(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"
