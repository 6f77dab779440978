"""`tcssa demo`: the whole chain, with no data at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tcssa_cli.options import DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output, make_table, with_interval

if TYPE_CHECKING:
    from tcssa.statistics.intervals import Score
    from tcssa_cli.demo.chain import Demonstration

_SCORES = {"auc": "AUC", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}


def demo(
    out: Annotated[Path, out_option("Folder to write everything to.")] = Path("tcssa-demo"),
    slides: Annotated[int, typer.Option(min=18, metavar="<int>", help="Slides to draw.")] = 40,
    seed: Annotated[
        int, typer.Option(min=0, metavar="<int>", help="Seed of slides and training.")
    ] = 1,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Draw a small cohort and run every step on it, from extract to the heat map of a new slide.

    The slides are drawn, not of patients: two kinds of tumour in few patches of a slide, which
    differ in the shape of their nuclei and not in colour. TC-SSA, ABMIL and mean pooling are
    compared on them. Takes a minute or two. A second call does only what is missing.

    Examples:
        tcssa demo
        tcssa demo --slides 60 --out my-demo
    """
    output = Output(as_json)
    from tcssa.reports.html_page import write_page
    from tcssa_cli.demo.chain import Demonstration, run_demonstration

    done = Demonstration(out, slides, seed)
    run_demonstration(done, output)
    report = out / "report.html"
    write_page(
        report,
        Path(__file__).with_suffix(".html"),
        done=done,
        steps=[[name, f"{seconds:.1f} s", *rest] for name, seconds, *rest in _steps(done)],
        scores=_SCORES,
        contour=done.job / "contours" / f"{done.slot_maps[0].stem}.jpg",
        plots=done.run_folder / "plots",
        compared=_compared(done),
        forest=done.folder / "comparison" / "comparison.png",
        new_slide=_new_slide(done),
        heatmaps=_pictures(done),
        next_commands=_next_commands(done),
    )
    output.result(_data(done, report), lambda console: _show(console, done, report))


def _data(done: Demonstration, report: Path) -> dict[str, Any]:
    assert done.extracted is not None
    assert done.new_slide is not None
    return {
        "folder": done.folder,
        "report": report,
        "seconds": done.seconds,
        "num_patches": done.extracted.num_patches,
        "pooled": done.metrics["pooled"],
        "compared": {name: score["value"] for name, score in _scores(done).items()},
        "new_slide": {"label": done.new_slide.label, "predicted": _prediction(done)[0]},
        "slots_onnx_against_torch": done.largest_difference,
    }


def _show(console: Console, done: Demonstration, report: Path) -> None:
    header = ["step", "seconds", "what came of it", "where"]
    rows = [[name, f"{seconds:.1f}", *rest] for name, seconds, *rest in _steps(done)]
    console.print(make_table("tcssa demo", header, rows))
    header = ["method", "test AUC (95 % interval)", "difference from tcssa"]
    console.print(make_table("on the same slides", header, _compared(done)))
    console.print(f"\n{_new_slide(done)}\n\nlook at", soft_wrap=True)
    for path, what in ((report, "everything on one page"), (_pictures(done)[0], "the new slide")):
        console.print(f"  {path}  ({what})", soft_wrap=True)
    console.print("\nthen try:\n", soft_wrap=True)
    console.print(_next_commands(done), soft_wrap=True)


def _scores(done: Demonstration) -> dict[str, Score]:
    """Return the AUC of each method."""
    assert done.comparison is not None
    return {run.model: run.score for run in done.comparison.runs}


def _compared(done: Demonstration) -> list[list[str]]:
    """Return a row a method: its AUC, and its difference from TC-SSA."""
    assert done.comparison is not None
    return [
        [
            run.model,
            with_interval(run.score),
            with_interval(run.difference) if run.difference else "",
        ]
        for run in done.comparison.runs
    ]


def _prediction(done: Demonstration) -> tuple[str, float]:
    """Return the class that the new slide was predicted to be, and its probability."""
    assert done.heatmaps is not None
    record = done.heatmaps.records[0]
    return record.leading[0], max(record.predicted)


def _new_slide(done: Demonstration) -> str:
    """Say what the new slide is, and what was predicted of it."""
    assert done.new_slide is not None
    predicted, probability = _prediction(done)
    return (
        f"A slide of a new patient, drawn as {done.new_slide.label}, was predicted {predicted} "
        f"with probability {probability:.2f}."
    )


def _pictures(done: Demonstration) -> list[Path]:
    """Return the new slide's heat map, and the pictures beside it."""
    assert done.heatmaps is not None
    names = done.heatmaps.records[0].pictures
    return [done.heatmaps.folder / name for name in names if name.endswith((".png", ".jpg"))]


def _steps(done: Demonstration) -> list[tuple[str, float, str, str]]:
    assert done.extracted is not None
    assert done.artefact is not None
    auc = done.metrics["pooled"]["auc"]
    slots = f"{done.artefact.num_slots} slots of {done.artefact.slot_dim} numbers a slide"
    predicted, _ = _prediction(done)
    results = {
        "draw slides": (f"{done.num_slides} slides, two classes", done.cohort),
        "extract": (f"{done.extracted.num_patches:,} patches of tissue", done.job),
        "train-mil": (
            f"test AUC {auc['value']:.3f} (95 % {auc['low']:.3f} – {auc['high']:.3f})",
            done.run_folder,
        ),
        "compare": ("ABMIL and mean pooling on the same folds", done.folder / "comparison"),
        "export": ("ONNX, equal to torch within its tolerance", done.folder / "artefact"),
        "encode": (slots, done.folder / "encoded-onnx"),
        "slot maps": (f"{len(done.slot_maps)} pictures", done.folder / "slot-maps"),
        "heatmap": (f"a new slide, predicted {predicted}", done.folder / "heatmaps"),
    }
    return [
        (name, seconds, results[name][0], str(results[name][1]))
        for name, seconds in done.seconds.items()
    ]


def _next_commands(done: Demonstration) -> str:
    return "\n".join(
        [
            "  tcssa extract SLIDES --out job                      # your own slides",
            "  tcssa train-mil --labels labels.csv --features job --out run",
            "  tcssa eval run",
            "  tcssa export run --format onnx --out artefact",
            "  tcssa encode job --model artefact --out encoded",
            "  tcssa doctor                                        # what runs on this machine",
        ]
    )
