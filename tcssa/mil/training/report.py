"""Writer of a run's ``report.html``: results, settings and origin on one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tcssa.config.presets import DEFAULT_METHOD
from tcssa.mil.calibration.record import LABEL
from tcssa.mil.reporting import decision_rows
from tcssa.mil.reporting.cohort_facts import cohort_facts
from tcssa.mil.reporting.metric_names import titles, written
from tcssa.mil.reporting.published_figures import expectations
from tcssa.mil.results.metrics_file import RunMetrics
from tcssa.mil.review.review import Review
from tcssa.mil.settings import MilSettings
from tcssa.mil.tasks.serialization import is_plain
from tcssa.reports.html_page import number, write_page

REPORT_FILE = "report.html"

_CAPTIONS = {
    "training.png": "Every fold, epoch by epoch; a dot is the epoch that was kept",
    "utilisation.png": "Share of the training patches that each slot takes, at the epoch kept",
}


def write_report(
    out: Path,
    settings: MilSettings,
    metrics: RunMetrics,
    run: Mapping[str, Any],
    review: Review | None,
) -> None:
    """Write a run's page, atomically.

    Args:
        out: The run directory; its plots are put into the page.
        settings: The settings of the run.
        metrics: The results of the run.
        run: The content of ``run.json``.
        review: The wrong predictions; None where labels are no classes.
    """
    task = metrics.task
    captions = {out / "plots" / name: text for name, text in (task.captions | _CAPTIONS).items()}
    of_tcssa = settings.model.name == DEFAULT_METHOD
    write_page(
        out / REPORT_FILE,
        Path(__file__).with_suffix(".html"),
        name=out.name,
        settings=settings,
        settings_file=yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False),
        metrics=metrics,
        task=task,
        titles=titles,
        written=written,
        rows_of=decision_rows,
        review=review,
        calibrations=list(_calibrations(metrics)),
        stated=expectations(settings, metrics.pooled),
        lookups=_lookups(metrics.site_lookup),
        pictures=[(path, text) for path, text in captions.items() if path.exists()],
        can_export=of_tcssa,
        can_inspect=of_tcssa and is_plain(task),
        origins=list(_origins(run)),
    )


def _calibrations(metrics: RunMetrics) -> Iterator[list[str]]:
    """Yield a row for each model and target: threshold, temperature, and what they rest on."""
    of_models = {f"fold {fold.fold}": fold.calibration for fold in metrics.folds}
    for model, found in {**of_models, "new slides": metrics.calibration}.items():
        for target, one in found.items():
            name = model if target == LABEL else f"{model}, {target}"
            threshold = "–" if one.threshold is None else number(one.threshold)
            yield [name, threshold, number(one.temperature), str(one.num_slides)]


def _lookups(stated: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """Return the lookups of sites by target; that of a lone label has an empty name."""
    if not stated:
        return {}
    return {"": stated} if "num_slides" in stated else stated


def _origins(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from cohort_facts(run["cohort"])
    yield "the run stands for", f"{run['selected']} ({run['selected_by']})"
    yield "checkpoint SHA-256", str(run["checkpoint_sha256"])
    if run.get("init_sha256"):
        yield "weights to start from, SHA-256", str(run["init_sha256"])
    if rounding := run.get("rounding"):
        change = f"{rounding['largest_change']:.1e}"
        yield "features rounded to", f"float16; no value changed by more than {change}"
        for slide, reason in rounding["left_as_they_are"].items():
            yield "not rounded", f"{slide}: {reason}"
    for reading in run["readings"]:
        yield "read as", reading
    for slide, reason in run["skipped"].items():
        yield "left out", f"{slide}: {reason}"
