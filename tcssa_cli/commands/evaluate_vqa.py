"""`tcssa eval --benchmark`: score a slide language model, or another system's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tcssa.errors import UsageError
from tcssa.run import RUN_FILE, read_run
from tcssa_cli.output import Output, make_table

if TYPE_CHECKING:
    from tcssa.vqa.data.benchmark import Kind
    from tcssa.vqa.evaluation.report import Report

_GROUPS = {"broad": "broad category", "narrow": "narrow category"}
_CONTROLS = {"blank": "blank slots", "other_slide": "slots of another slide"}


def evaluate_vqa(
    run: Path | None,
    kind: Kind,
    file: Path,
    output: Output,
    *,
    features: Path | None,
    out: Path | None,
    device: str,
    predictions: Path | None,
    compare: list[Path] | None,
    llm: str | None,
    allow_hub: bool,
    trust_remote_code: bool,
    overwrite: bool,
    **asked: Any,
) -> None:
    """Score a run of train-vqa, or the answers in a file, on a benchmark.

    Args:
        run: The run directory; None with ``predictions``.
        kind: The benchmark.
        file: The benchmark's questions.
        output: Receives progress and the result.
        features: Folder of the slides' patch features; None with ``predictions``.
        out: Folder to write; below the run if None, required with ``predictions``.
        device: Device of the models.
        predictions: Another system's answers, scored instead of a run's.
        compare: Folders of other evaluations to show beside this one.
        llm: Where the language model lies, if not where it was trained from.
        allow_hub: Allow the language model to be downloaded.
        trust_remote_code: Run code that comes with the language model.
        overwrite: Ask all questions again.
        **asked: Fields of `tcssa.vqa.evaluation.evaluate.EvalOptions`; None is the default.

    Raises:
        UsageError: Options are missing or do not go together, or the run is one of train-mil.
    """
    from tcssa.vqa.evaluation.comparison import plot_comparison
    from tcssa.vqa.evaluation.report import read_report
    from tcssa.vqa.evaluation.report_page import write_report_page

    beside = [read_report(folder) for folder in compare or []]
    if predictions is not None:
        of_runs = {"llm": llm, "allow_hub": allow_hub, "trust_remote_code": trust_remote_code}
        _refuse_with_predictions(run, features, {**of_runs, "overwrite": overwrite, **asked})
        if out is None:
            raise UsageError("--predictions needs --out DIR: there is no run to write below")
        from tcssa.vqa.evaluation.score_predictions import evaluate_predictions

        report = evaluate_predictions(predictions, kind, file, output, out=out)
    else:
        run, features = _require(run, features)
        from tcssa.vqa.evaluation.evaluate import EvalOptions, evaluate

        report = evaluate(
            run,
            kind,
            file,
            features,
            output,
            EvalOptions(**{name: value for name, value in asked.items() if value is not None}),
            llm=llm,
            allow_hub=allow_hub,
            trust_remote_code=trust_remote_code,
            device=device,
            out=out,
            overwrite=overwrite,
        )
    plot = plot_comparison(report, beside)
    page = write_report_page(report, plot)
    output.result(
        {"folder": str(report.folder), "plot": plot, "page": page, **report.metrics},
        lambda console: show_report(console, report),
    )


def _refuse_with_predictions(
    run: Path | None, features: Path | None, asked: dict[str, Any]
) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value]
    given += ["--features"] if features else []
    given += [f"the run {run}"] if run else []
    if given:
        raise UsageError(
            f"--predictions scores the answers of a file; {given[0]} has no part in it"
        )


def _require(run: Path | None, features: Path | None) -> tuple[Path, Path]:
    if run is None:
        raise UsageError(
            "no run was given", hint="name the run directory, or another system's --predictions"
        )
    if (run / RUN_FILE).is_file() and read_run(run).get("kind") == "train-mil":
        raise UsageError(
            f"{run} is a run of train-mil, which answers no questions",
            hint=f"train one that does: tcssa train-vqa --compressor {run} …",
        )
    if features is None:
        raise UsageError(
            "the slides' features are missing", hint="give their folder with --features DIR"
        )
    return run, features


def show_report(console: Console, report: Report) -> None:
    """Print the figures of an evaluation.

    Args:
        console: The console to print on.
        report: The evaluation's report.
    """
    metrics = report.metrics
    benchmark = metrics["benchmark"]
    limit = metrics["asked"].get("limit")
    console.print(
        f"{benchmark['kind']}: {benchmark['version']}, SHA-256 {benchmark['sha256'][:12]}…, "
        f"{metrics['asked']['num_questions']} questions asked"
        + (f" (the first {limit} only: no benchmark figure)" if limit else ""),
        soft_wrap=True,
    )
    if metrics["scores"]:
        _show_scores(console, metrics)
    if metrics["permutation"]:
        _show_permutation(console, metrics["permutation"])
    if metrics["open"]:
        _show_open(console, metrics["open"])
    statuses = ", ".join(f"{n} {status}" for status, n in metrics["statuses"].items())
    left_out = ", ".join(f"{n} {kind}" for kind, n in benchmark["faults"].items())
    console.print(f"rows: {statuses}" + (f"; faults of the file: {left_out}" if left_out else ""))
    console.print(f"answers, metrics, plot and report.html: {report.folder}", soft_wrap=True)


def _show_scores(console: Console, metrics: dict[str, Any]) -> None:
    overall = metrics["scores"]["overall"]
    rows: list[list[object]] = [[metrics["system"]["name"], *_cells(overall)]]
    for name, title in _CONTROLS.items():
        control = metrics["controls"][name]
        if control is not None:
            rows.append([title, *_cells(control["overall"])])
    for baseline in metrics["baselines"]:
        name = f"{baseline['name'].replace('_', ' ')} ({baseline['rule']})"
        rows.append([name, *_cells(baseline["scores"]["overall"])])
    header = ["", "accuracy, all rows", "95 % interval", "of answered", "invalid"]
    title = f"Accuracy: {overall['num_rows']} rows of {overall['num_slides']} slides"
    console.print(make_table(title, header, rows))
    groups = metrics["scores"]["groups"]
    for category, tallies in groups.items():
        rows = [
            [value, tally["num_rows"], tally["num_slides"], *_cells(tally)]
            for value, tally in tallies.items()
        ]
        macro = metrics["scores"]["macro"].get(category)
        if macro:
            rows.append(["mean of these", "", "", macro["value"], _interval(macro), None, None])
        header = [_GROUPS.get(category, category), "rows", "slides", *header[-4:]]
        console.print(make_table(None, header, rows))


def _cells(tally: dict[str, Any]) -> list[object]:
    return [
        tally["accuracy"]["value"],
        _interval(tally["accuracy"]),
        tally["accuracy_answered"]["value"],
        tally["invalid_rate"],
    ]


def _interval(figure: dict[str, Any]) -> str:
    if figure["low"] is None or figure["high"] is None:
        return "–"
    return f"{figure['low']:.3f} – {figure['high']:.3f}"


def _show_permutation(console: Console, found: dict[str, Any]) -> None:
    rows = [
        [letter, figures["share"], figures["expected"], figures["accuracy"]]
        for letter, figures in found["letters"].items()
    ]
    header = ["letter", "answered", "without bias", "accuracy when right"]
    console.print(make_table("Options in every order", header, rows))
    mean = found.get("mean_of_orders")
    console.print(
        f"over all orders: accuracy {found['accuracy']:.3f}, the same option in every order "
        f"{found['consistency']:.3f}"
        + (f", accuracy of the mean over orders {mean['value']:.3f}" if mean else "")
    )


def _show_open(console: Console, found: dict[str, Any]) -> None:
    names = ["exact", "bleu1", "bleu4", "rouge1", "rouge2", "rouge_l"]
    console.print(
        make_table(
            f"Open questions: {found['num_texts']} rows",
            [name.replace("_", "-").upper() for name in names],
            [[found[name] for name in names]],
        )
    )
