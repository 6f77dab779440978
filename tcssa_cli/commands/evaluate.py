"""`tcssa eval`: score a run, or another system's answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from tcssa.compute.launcher import require_one_process
from tcssa.errors import UsageError
from tcssa.hub import local_model, require_out
from tcssa.run import read_run
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.settings import VQA_FILE, BenchmarkKind, EvalOptions, LanguageModelOptions
from tcssa_cli.commands.evaluate_mil import CohortOptions, evaluate_mil
from tcssa_cli.commands.evaluate_vqa import (
    BenchmarkOptions,
    PredictionOptions,
    evaluate_predictions,
    evaluate_vqa,
)
from tcssa_cli.crew_options import CrewOptions
from tcssa_cli.options import DebugFlag, DeviceOption, JsonFlag, out_option
from tcssa_cli.output import Output
from tcssa_cli.settings_flags import Flags, refuse_others, with_flags

_GROUPS = (
    Flags(CohortOptions, at="cohort", panel="MIL runs"),
    Flags(
        BenchmarkOptions,
        at="benchmark",
        panel="VQA runs",
        completed={"benchmark": lambda: list(get_args(BenchmarkKind))},
    ),
    Flags(EvalOptions, at="asked", panel="VQA runs"),
    Flags(LanguageModelOptions, at="llm", panel="VQA runs"),
    Flags(EndpointOptions, at="endpoint", panel="VQA runs"),
    Flags(CrewOptions, at="crew", panel="VQA runs, by several workers"),
    Flags(PredictionOptions, at="predictions", panel="Answers of another system"),
)


@dataclass(frozen=True)
class _Kind:
    """A kind of answers to score: its groups of flags, and the function that scores it."""

    groups: tuple[str, ...]
    evaluate: Callable[..., None]


_KINDS = {
    "train-mil": _Kind(("cohort",), evaluate_mil),
    "train-vqa": _Kind(("benchmark", "asked", "llm", "endpoint", "crew"), evaluate_vqa),
    "predictions": _Kind(("benchmark", "predictions"), evaluate_predictions),
}


_FeaturesOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Patch features of a new cohort; of a MIL run without --labels: where its own are "
        "now. Or those of the benchmark's slides; there repeat it for more folders."
    ),
]


@with_flags(*_GROUPS)
def evaluate(
    flags: dict[str, Any],
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory of train-mil or train-vqa; or hf:OWNER/NAME of one of train-mil."
        ),
    ] = None,
    features: _FeaturesOption = None,
    out: Annotated[
        Path | None,
        out_option(r"Folder to write. \[default: a folder in the run]"),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Score a run: a slide classifier on a cohort, or a slide language model on a benchmark.

    MIL runs (train-mil): without --labels, every test slide is predicted again by the fold that
    did not train on it. A new cohort is predicted by the run's final model.

    VQA runs (train-vqa) need --benchmark and --features. With --gpus or --workers several
    processes share the slides. After an interruption, run the same command again to go on.

    Examples:
        tcssa eval run
        tcssa eval run --labels other.csv --features other-job
        tcssa eval vqa-run --benchmark wsi-vqa WsiVQA_test.json --features job
        tcssa eval vqa-run --benchmark wsi-vqa W.json --features job --gpus all
    """
    require_one_process(
        "tcssa eval works in one process, and several were started together",
        hint="start it without torchrun; --gpus all shares the slides of a benchmark among GPUs",
    )
    from tcssa.features.remote_features import local_features

    output, given = Output(as_json), flags["predictions"]["predictions"]
    if given is None:
        if run is None:
            hint = "name the run directory: tcssa eval RUN, or --predictions FILE"
            raise UsageError("no run was given", hint=hint)
        require_out(out, run)
        run = local_model(run, output)
        name = _kind(run)
        what = f"{run} is a run of {name}"
    else:
        name, what = "predictions", f"--predictions scores the answers in {given}"
        if run is not None or features:
            part = "--features" if run is None else f"the run {run}"
            raise UsageError(f"{what}; {part} has no part in it")
    kind = _KINDS[name]
    refuse_others(_GROUPS, kind.groups, flags, what)
    sections = {group: flags[group] for group in kind.groups}
    here = [local_features(place, output) for place in features or []]
    kind.evaluate(output, run, features=here, out=out, device=device, **sections)


def _kind(run: Path) -> str:
    """Return the command that made a run.

    Raises:
        RunError: The folder is no run.
    """
    if (run / VQA_FILE).exists():  # a merged run has this alone
        return "train-vqa"
    return "train-vqa" if read_run(run).get("kind") == "train-vqa" else "train-mil"
