"""Training of a whole run: all folds are trained, tested once, and summed up in a run directory.

::

    RUN/
      run.json                  kind of run, cohort it was made from, and the selected fold
      config.resolved.yaml      all settings of the run
      splits.csv                slide, patient, label, and its part in every fold
      metrics.json              pooled over all test slides, with intervals; and fold by fold
      predictions.csv           every slide, predicted by the fold that did not know it
      wrong.csv wrong/          slides that were classified wrongly, and pictures of the first
      plots/                    roc, confusion, training, utilisation
      report.html               all of this on one page
      fold-0/ …                 checkpoint.safetensors, history.csv, utilisation.csv, metrics.json
      final/                    checkpoint.safetensors of the model trained on all patients
      training_patches.safetensors  mean and spread of the patches, to tell others from them
      evidence_reference.safetensors  what the evidence for each class is compared with
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tcssa.compute import launcher
from tcssa.compute.devices import resolve_device
from tcssa.compute.threads import threads_for
from tcssa.config.settings import RESOLVED_FILE, read_resolved, section_of, write_resolved
from tcssa.config.settings_diff import differences
from tcssa.errors import RunError, UsageError, counted
from tcssa.features import features_folder
from tcssa.features.remote_features import local_features
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256
from tcssa.files.yaml_file import read_yaml_mapping
from tcssa.hub import is_hub_address, local_model
from tcssa.mil.bags.bag_store import BagStore, open_store, rounds
from tcssa.mil.bags.familiar import FAMILIAR_FILE, Familiar
from tcssa.mil.calibration.calibration import calibrate, targets_of
from tcssa.mil.calibration.rule import YOUDEN
from tcssa.mil.classifier.classifiers import load_classifier, require_learnable
from tcssa.mil.classifier.final_model import load_ensemble
from tcssa.mil.cohort.cohort import Cohort, CohortSlide, listed, read_cohort
from tcssa.mil.cohort.site_confounding import SiteConfound, site_confounds
from tcssa.mil.cohort.splits import (
    SPLITS_FILE,
    Fold,
    make_folds,
    unused_slides,
    write_splits,
)
from tcssa.mil.evidence.reference import REFERENCE_FILE, Reference
from tcssa.mil.methods import BagClassifier
from tcssa.mil.results.finished import FINAL_FOLDER, KIND
from tcssa.mil.results.metrics_file import METRICS_FILE, FinalModel, RunMetrics, read_metrics
from tcssa.mil.results.mixed_scales import mixed_scales
from tcssa.mil.review.pictures import Pictures
from tcssa.mil.review.review import PICTURES_FOLDER, Review, review
from tcssa.mil.settings import MilSettings
from tcssa.mil.training.final import train_final
from tcssa.mil.training.fit import PROGRESS_FILE, FoldFit
from tcssa.mil.training.fold_results import (
    VALIDATION_FILE,
    FoldResult,
    read_fold,
    sum_up,
    write_fold,
)
from tcssa.mil.training.report import write_report
from tcssa.reporter import Reporter, Task
from tcssa.run import (
    CHECKPOINT_FILE,
    RUN_FILE,
    require_own_folder,
    selected_checkpoint,
    write_run,
)
from tcssa.training import begun_run, changed_settings, require_unchanged

_FREE_TO_CHANGE = {
    "train": ("device", "cache_gb", "feature_cache", "readers", "checkpoint_every_s"),
    "cohort": ("labels", "slide_table", "features"),  # their content counts, not where it lies
}
"""Settings that a resumed run may change: they do not define the result."""


def train(settings: MilSettings, out: Path, reporter: Reporter) -> RunMetrics:
    """Train and test all folds, or continue where an earlier call was interrupted.

    Args:
        settings: The settings of the run: cohort, method, splits and training.
        out: The run directory.
        reporter: Told of progress, and warned of collapsed slots and skipped slides.

    Raises:
        RunError: ``out`` holds a run of other settings or another cohort.
        UsageError: A launcher such as torchrun started several processes, or ``out`` is another
            command's.
        TcssaError: The cohort is faulty; see `read_cohort` and `make_folds`.
    """
    launcher.require_one_process(
        "train-mil trains in one process",
        hint="call it without torchrun; tcssa sweep runs several trainings side by side",
    )
    require_own_folder(out, RUN_FILE)
    settings = _with_local_features(settings, reporter).resolved()
    settings = _with_local_weights(settings, reporter)
    settings = _with_own_features(settings, out, reporter)
    cohort, folds, unused, confounds = _divided(settings, reporter)
    fingerprint = cohort.fingerprint(with_places=settings.model.spatial is not None)
    if _is_complete(settings, cohort, fingerprint, out):
        reporter.note(f"{out} is complete already; nothing to do")
        return read_metrics(out)
    out.mkdir(parents=True, exist_ok=True)
    atomic.discard_leftovers(out)
    write_resolved(settings, out)
    store = open_store(settings.train, cohort, reporter)
    rounding = asdict(store.rounding) if store.rounding else None
    facts = {"cohort": fingerprint, "unused": unused, "rounding": rounding}
    run = {"kind": KIND, **facts, **_origins(settings, cohort)}
    write_run(out, {**run, "complete": False})
    write_splits(out / SPLITS_FILE, cohort.slides, folds, cohort.classes)
    refit = settings.train.final == "refit"
    final = None
    trainings = len(folds) + refit
    epochs = trainings * settings.train.epochs
    size = sum(slide.num_patches for slide in cohort.slides) / len(cohort.slides)
    with threads_for(size), reporter.task("training", epochs, "epochs") as task:
        results = [
            _fit_or_read(cohort, fold, i, settings, out / f"fold-{i}", store, reporter, task)
            for i, fold in enumerate(folds)
        ]
        if refit:
            final = train_final(cohort, folds, results, settings, out, store, reporter, task)
    used = [slide for slide in cohort.slides if slide.slide_id not in unused]
    _measure(used, settings, len(folds), out, store, reporter)
    metrics = sum_up(results, cohort, settings, confounds, out, final)
    _warn_of_results(metrics, results, settings.model.top_k, reporter)
    run |= {**_selected(results, final, out), "skipped": cohort.skipped}
    reviewed = _reviewed(cohort, results, settings, out, store, reporter)
    write_report(out, settings, metrics, run, reviewed)
    if settings.train.keep == "final":
        for index in range(len(folds)):
            (out / f"fold-{index}" / CHECKPOINT_FILE).unlink(missing_ok=True)
    write_run(out, {**run, "complete": True})
    return metrics


def _origins(settings: MilSettings, cohort: Cohort) -> dict[str, Any]:
    """Return the part of ``run.json`` that says where weights and patches are from."""
    init = settings.model.init
    return {
        "extraction": cohort.extraction.stated(),
        "init_sha256": None if init is None else file_sha256(init),
        "readings": cohort.readings,
    }


def _divided(
    settings: MilSettings, reporter: Reporter
) -> tuple[Cohort, list[Fold], list[str], Mapping[str, SiteConfound]]:
    """Read and divide the cohort; return it, its folds, slides in none, and confounding sites."""
    cohort = read_cohort(settings.cohort)
    _require_learnable(settings, cohort)
    folds = make_folds(
        cohort.slides,
        cohort.task,
        settings.train.folds,
        settings.train.seed,
        settings.split,
        skip_missing=settings.cohort.skip_missing,
        tell=cohort.readings.append,
    )
    for reading in cohort.readings:
        reporter.note(reading)
    if cohort.task.kind in ("classes", "ordinal"):
        sizes = Counter(slide.label for slide in cohort.slides)
        names = enumerate(cohort.task.label_names)
        reporter.note("slides: " + ", ".join(f"{name} {sizes[label]}" for label, name in names))
    unused = unused_slides(cohort.slides, folds)
    confounds = site_confounds(folds, cohort.task)
    for sentence in _cohort_warnings(cohort, unused, confounds, settings.split.group_by):
        reporter.warn(sentence)
    return cohort, folds, unused, confounds


def _require_learnable(settings: MilSettings, cohort: Cohort) -> None:
    """Refuse a method and settings that have no meaning for the labels.

    Raises:
        UsageError: They have none.
    """
    weighed = settings.train.class_weights == "balanced"
    require_learnable(settings.model.name, cohort.feature_dim, cohort.task, weighed=weighed)
    if weighed:
        cohort.task.weighted(cohort.slides)  # refused where there are no classes
    targets = targets_of(cohort.task).values()
    if settings.train.threshold != YOUDEN and not any(len(t.task.classes) == 2 for t in targets):
        raise UsageError(
            f"--threshold is of two classes, and the labels are {cohort.task.sentence()}",
            hint="leave it out",
        )


def _with_local_weights(settings: MilSettings, reporter: Reporter) -> MilSettings:
    """Name the copy on this machine of weights on the hub, whose path says their commit."""
    if not is_hub_address(settings.model.init):
        return settings
    weights = selected_checkpoint(local_model(str(settings.model.init), reporter))
    model = settings.model.model_copy(update={"init": weights})
    return settings.model_copy(update={"model": model})


def _with_local_features(settings: MilSettings, reporter: Reporter) -> MilSettings:
    if settings.cohort.features is None:
        return settings
    here = local_features(settings.cohort.features, reporter)
    cohort = settings.cohort.model_copy(update={"features": here})
    return settings.model_copy(update={"cohort": cohort})


def _with_own_features(settings: MilSettings, out: Path, reporter: Reporter) -> MilSettings:
    """Name the very folder of the features, since a job may get another beside it later.

    Raises:
        MissingDataError: The folder does not exist, or holds no feature file.
        UsageError: A job holds several sets of features, and the run was begun with none of them.
    """
    given = settings.cohort.features
    if given is None:
        return settings
    try:
        folder = features_folder(given)
    except UsageError:
        if begun_run(out, KIND) is None:
            raise
        begun_with = read_resolved(out, MilSettings, RunError).cohort.features
        if begun_with is None or not begun_with.is_relative_to(given) or begun_with == given:
            raise
        folder = begun_with
        reporter.note(f"{given} holds several sets of features; the run was begun with {folder}")
    cohort = settings.cohort.model_copy(update={"features": folder})
    return settings.model_copy(update={"cohort": cohort})


def _measure(
    slides: Sequence[CohortSlide],
    settings: MilSettings,
    num_folds: int,
    out: Path,
    store: BagStore,
    reporter: Reporter,
) -> None:
    """Measure what new slides are compared with: training patches, and the evidence of slides."""
    if not (out / FAMILIAR_FILE).exists():
        Familiar.of(slides, store, settings.train.seed).save(out)
    if (out / REFERENCE_FILE).exists():
        return
    own = settings.model.name
    model: BagClassifier
    if settings.train.final == "refit":
        model = load_classifier(out / FINAL_FOLDER / CHECKPOINT_FILE, own)
    else:
        model = load_ensemble([out / f"fold-{i}" / CHECKPOINT_FILE for i in range(num_folds)], own)
    device = resolve_device(settings.train.device)
    Reference.of(model.to(device), slides, store, device, reporter).save(out)


def _reviewed(
    cohort: Cohort,
    results: Sequence[FoldResult],
    settings: MilSettings,
    out: Path,
    store: BagStore,
    reporter: Reporter,
) -> Review | None:
    """Write the wrong predictions of all folds, with pictures; see `review`."""
    pictures = Pictures(
        out / PICTURES_FOLDER,
        {bag.slide_id: bag for bag in cohort.bags(cohort.slides)},
        lambda fold: load_classifier(out / f"fold-{fold}" / CHECKPOINT_FILE, settings.model.name),
        store,
        resolve_device(settings.train.device),
        reporter,
    )
    return review(out, cohort.task, [row for result in results for row in result.test], pictures)


def _warn_of_results(
    metrics: RunMetrics, results: Sequence[FoldResult], top_k: int, reporter: Reporter
) -> None:
    """Warn of pooled figures that are below the folds' own, and of collapsed slots."""
    for name, folds in metrics.over_folds.items():
        if mixed := mixed_scales(name, metrics.pooled[name]["value"], folds.mean):
            reporter.warn(mixed)
    for result in results:
        slots = result.best.slots
        if slots and (collapse := slots.collapse(top_k)):
            reporter.warn(f"fold {result.index}: the slots collapsed: {collapse}")


def _selected(results: Sequence[FoldResult], final: FinalModel | None, out: Path) -> dict[str, str]:
    """Return which model stands for the run: the final one, or the best fold's."""
    if final is not None:
        folder, reason = FINAL_FOLDER, f"trained on all patients, {final.epochs} epochs"
    else:
        best = min(results, key=lambda result: result.best.val_loss)
        folder, reason = f"fold-{best.index}", "lowest validation loss"
    return {
        "selected": folder,
        "selected_by": reason,
        "checkpoint_sha256": file_sha256(out / folder / CHECKPOINT_FILE),
    }


def _cohort_warnings(
    cohort: Cohort, unused: Sequence[str], confounds: Mapping[str, SiteConfound], group_by: str
) -> Iterator[str]:
    """Yield warnings of slides left out, unknown patients and labels, and confounding sites."""
    if cohort.skipped:
        yield f"{counted(len(cohort.skipped), 'slide')} left out: {listed(cohort.skipped)}"
    if cohort.unknown_patients:
        yield (
            f"the table names no patient for {counted(cohort.unknown_patients, 'slide')}: each "
            "counts as a patient of its own; name the column with --case-column if there is one"
        )
    if unused:
        yield (
            f"{counted(len(unused), 'labelled slide')} in no fold of the splits, not used: "
            f"{', '.join(unused[:5])}"
        )
    if mixed := cohort.mixed_widths():
        yield mixed
    yield from cohort.unknown_labels()
    for target, confound in confounds.items():
        if confound.gives_label_away and group_by != "site":
            yield (f"target {target}: " if target else "") + confound.sentence()


def _is_complete(
    settings: MilSettings, cohort: Cohort, fingerprint: Mapping[str, Any], out: Path
) -> bool:
    """Tell whether the run is complete already; a run of other settings is an error."""
    run = begun_run(out, KIND)
    if run is None:
        return False
    changed = changed_settings(out, settings, _FREE_TO_CHANGE)
    if not run.get("complete"):
        _require_one_process(out)
    changed += differences(section_of(run, "cohort"), fingerprint)
    before_rounded, rounded = run.get("rounding") is not None, rounds(settings.train, cohort)
    if before_rounded != rounded:
        changed.append(
            f"features rounded to float16 was {before_rounded}, now {rounded}: go on "
            f"{'with' if before_rounded else 'without'} --feature-cache"
        )
    require_unchanged(out, changed)
    return bool(run.get("complete"))


def _require_one_process(out: Path) -> None:
    """Refuse to go on with what several processes began: their noise was of other numbers.

    Raises:
        RunError: The settings of the run state more than one part of a step.
    """
    made_with = read_yaml_mapping(out / RESOLVED_FILE, RunError)
    num_parts = section_of(made_with, "train").get("num_parts", 1)
    if num_parts != 1:
        raise RunError(
            out,
            f"was begun by several processes (train.num_parts {num_parts}), which train-mil has "
            "no more",
            hint="give another --out, to train it anew",
        )


def _fit_or_read(
    cohort: Cohort,
    fold: Fold,
    index: int,
    settings: MilSettings,
    folder: Path,
    store: BagStore,
    reporter: Reporter,
    task: Task,
) -> FoldResult:
    """Train and test a fold, or read its result if ``metrics.json``, written last, exists.

    Folds of before that left no validation predictions are trained again.
    """
    if (folder / METRICS_FILE).exists() and (folder / VALIDATION_FILE).exists():
        (folder / PROGRESS_FILE).unlink(missing_ok=True)  # a kill may have come in between
        task.skip(settings.train.epochs)
        return read_fold(folder, index, cohort.task)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.discard_leftovers(folder)
    fit = FoldFit(cohort, fold, index, settings, folder, store)
    progress = fit.run(task)
    task.skip(settings.train.epochs - len(progress.epochs))
    val, test = (fit.predict(part, fold=index) for part in (fit.fold.val, fit.fold.test))
    scores = cohort.task.point_scores(test)
    calibration = calibrate(
        cohort.task,
        val,
        settings.train.threshold,
        lambda fault: reporter.warn(f"fold {index}: {fault}"),
    )
    result = FoldResult(index, progress.epochs, progress.best_epoch, val, test, scores, calibration)
    write_fold(result, fit, folder, reporter)
    return result
