"""The commands as calls: `extract`, `train` and `heatmap`, with the settings that flags have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.config.presets import named_defaults
from tcssa.config.settings import Section, resolve
from tcssa.errors import UnknownNameError, UsageError
from tcssa.hub import local_model, require_out
from tcssa.mil.settings import MilSettings
from tcssa.reporter import Printed, Reporter
from tcssa.slides.manifest import SlideFile, are_all_slides, find_slides
from tcssa.slides.settings import ExtractSettings

if TYPE_CHECKING:
    from tcssa.mil.heatmaps.heatmaps import Heatmaps
    from tcssa.mil.heatmaps.sources import Source
    from tcssa.mil.prediction.given_slides import FailedSlide
    from tcssa.mil.results.finished import FinishedRun
    from tcssa.mil.results.metrics_file import RunMetrics
    from tcssa.slides import ExtractReport

_SPELLED = {"model": ("model", "name"), "splits": ("split", "files")}
"""Flags that are not the name of a setting; ``model={…}`` is the section."""


def extract(
    slides: Sequence[SlideFile | Path | str] | Path | str,
    out: Path | str,
    *,
    manifest: Path | str | None = None,
    config: Path | str | None = None,
    reporter: Reporter | None = None,
    **settings: Any,  # checked by `ExtractSettings`
) -> ExtractReport:
    """Extract the patch features of slides, as ``tcssa extract`` does.

    Args:
        slides: Slides, folders of slides and addresses, or one of them.
        out: The job folder.
        manifest: Table of slides, and of their resolution where they state none.
        config: YAML file of settings.
        reporter: Receives warnings and failed slides; None prints them.
        **settings: Fields of `tcssa.slides.ExtractSettings`, named as the flags: ``mpp=0.5``.

    Returns:
        The result of every slide, and ``features_folder``.

    Raises:
        UsageError: A setting is unknown or not valid, or ``out`` was made with other parameters.
        MissingDataError: There is no slide.
    """
    from tcssa.slides import extract as extract_slides

    reporter = reporter or Printed()
    resolved = resolve(ExtractSettings, flags=settings, config=_path(config))
    given = [slides] if isinstance(slides, str | Path) else slides
    known = [slide for slide in given if isinstance(slide, SlideFile)]
    paths = [slide for slide in given if not isinstance(slide, SlideFile)]
    found = find_slides(paths, _path(manifest), reporter=reporter) if paths or not known else []
    report = extract_slides([*known, *found], out, resolved, reporter)
    for slide in report.failed:
        reporter.warn(f"failed: {slide.path}: {slide.reason}")
    return report


def train(
    *,
    out: Path | str,
    config: Path | str | None = None,
    data_root: Path | str | None = None,
    reporter: Reporter | None = None,
    **settings: Any,  # checked by `MilSettings`
) -> RunMetrics:
    """Train a slide classifier, cross-validated by patient, as ``tcssa train-mil`` does.

    Args:
        out: The run directory; a run that was interrupted goes on.
        config: YAML file of settings.
        data_root: Folder of the data of a preset (``dataset="nsclc"``).
        reporter: Receives remarks and warnings; None prints them.
        **settings: ``labels``, ``features`` and further settings, flat as the flags are
            (``epochs=5``, ``model="abmil"``, ``splits="folder"``) or by section
            (``train={"epochs": 5}``, ``model={"name": "abmil"}``).

    Returns:
        Metrics of the folds, and pooled over all test slides.

    Raises:
        UsageError: A setting is unknown, not valid, or given twice.
        RunError: ``out`` holds a run of other settings or another cohort.
        TcssaError: The cohort is faulty.
    """
    from tcssa.mil.training.train import train as train_run

    resolved = resolve(
        MilSettings,
        flags=by_section(settings),
        config=_path(config),
        preset=partial(named_defaults, data_root=_path(data_root)),
    )
    return train_run(resolved, Path(out), reporter or Printed())


def heatmap(
    run: Path | str,
    inputs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    slides: Path | str | None = None,
    device: str = "auto",
    model: str | None = None,
    reporter: Reporter | None = None,
    **look: Any,  # checked by `Look`
) -> Heatmaps:
    """Draw what in a slide speaks for a class, as ``tcssa heatmap`` does.

    Args:
        run: The finished run, or its address on the hub.
        inputs: Slides, which are extracted as the run's features were, or features; or one of them.
        out: Folder to write; None takes ``heatmaps`` below the run.
        slides: Beside features, the folder of the slides' own files.
        device: Device that the models run on.
        model: The run's method, if it is the user's own code (``module:factory``).
        reporter: Receives warnings and failed slides; None prints them.
        **look: Fields of `tcssa.mil.heatmaps.pictures.Look`: ``shown=("LUSC",)``, ``crops=0``.

    Returns:
        The records of the slides, with the names of their pictures, and the page to look at.

    Raises:
        RunError: The run is not finished, or does not say how its features were extracted.
        UsageError: Slides and features are given together, ``slides`` beside slides, or ``out`` is
            a run, an artefact, or another command's folder.
    """
    from tcssa.mil.heatmaps.heatmaps import draw_heatmaps
    from tcssa.mil.heatmaps.pictures import Look
    from tcssa.mil.results.finished import read_finished
    from tcssa.run import HEATMAPS_FILE, require_own_folder

    reporter = reporter or Printed()
    trained = read_finished(local_model(run, reporter))
    places = list(map(str, [inputs] if isinstance(inputs, str | Path) else inputs))
    require_out(out, run)
    folder = Path(run) / "heatmaps" if out is None else Path(out)
    require_own_folder(folder, HEATMAPS_FILE)
    sources, failed = _sources(trained, places, folder, _path(slides), reporter, device)
    found = draw_heatmaps(
        trained,
        sources,
        folder,
        reporter,
        look=Look(**look),
        failed=failed,
        device=device,
        model=model,
    )
    for each in found.failed:
        reporter.warn(f"failed: {each.slide_id}: {each.reason}")
    return found


def _sources(
    trained: FinishedRun,
    places: Sequence[str],
    folder: Path,
    slides: Path | None,
    reporter: Reporter,
    device: str,
) -> tuple[list[Source], list[FailedSlide]]:
    """Return the slides to draw, extracted into ``folder`` where features were not given."""
    from tcssa.mil.heatmaps.sources import JOB_FOLDER, of_features, of_slides

    if not are_all_slides(places):
        return of_features(places, slides), []
    if slides is not None:
        raise UsageError(f"slides={slides} is for features, and {places[0]} is a slide or slides")
    return of_slides(places, folder / JOB_FOLDER, trained, reporter, flags={"device": device})


def by_section(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sort settings of a training that are flat, by section, or both, into their sections.

    Args:
        settings: Values by name.

    Returns:
        The same values, nested as `MilSettings`.

    Raises:
        UsageError: A name is unknown, or a setting is given both flat and in its section.
    """
    sections = {
        name: field.annotation
        for name, field in MilSettings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    places: dict[str, tuple[str | None, str]] = {
        name: (at, name) for at, kind in sections.items() for name in kind.model_fields
    }
    places |= {name: (None, name) for name in MilSettings.model_fields if name not in sections}
    del places["name"], places["files"]
    places |= _SPELLED
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        values = value.model_dump(exclude_unset=True) if isinstance(value, Section) else value
        if name in sections and isinstance(values, Mapping):
            section: str | None = name
        elif name in places:
            section, field = places[name]
            values = {field: values}
        elif name in sections:
            raise UsageError(f"{name} is a section of settings: give {name}={{…}}")
        else:
            raise UnknownNameError("setting", name, {*places, *sections})
        inner = nested if section is None else nested.setdefault(section, {})
        if twice := sorted(inner.keys() & values.keys()):
            raise UsageError(f"{twice[0]} is given twice: by itself and in {section}={{…}}")
        inner.update(values)
    return nested


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)
