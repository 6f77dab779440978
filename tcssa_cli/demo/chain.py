"""The steps of the demonstration, each of them the library call behind a command."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tcssa.artefact import Artefact, is_artefact
from tcssa.compressor import open_checkpoint
from tcssa.config.presets import named_defaults
from tcssa.config.settings import resolve
from tcssa.errors import RunError, SlideError, TcssaError, UsageError
from tcssa.features import find_bags, open_bag
from tcssa.files import atomic
from tcssa.files.picture import read_rgb
from tcssa.files.text import read_json
from tcssa.front_door import heatmap
from tcssa.mil.comparison.compare import compare
from tcssa.mil.comparison.comparison import Comparison
from tcssa.mil.heatmaps.heatmaps import Heatmaps
from tcssa.mil.settings import MilSettings
from tcssa.mil.sweep.sweep import METHOD, points, sweep
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.reports.slot_map import draw_slot_map
from tcssa.slides import ExtractReport, ExtractSettings, extract, find_slides
from tcssa.synthetic import SlideSpec, compose_cohort, compose_new_slide
from tcssa_cli.output import Output
from tcssa_exporters import export_compressor
from tcssa_runtimes import EncodeReport, encode, open_runtime

_OTHERS = [(METHOD, ("abmil", "mean"))]
"""Methods beside TC-SSA, as an axis of a sweep."""


@dataclass
class Demonstration:
    """The settings and results of the demonstration.

    Args:
        folder: Folder of everything that is written.
        num_slides: Number of slides to draw.
        seed: Seed of the drawing and of the training.
    """

    folder: Path
    num_slides: int
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    extracted: ExtractReport | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    artefact: Artefact | None = None
    encoded: dict[str, EncodeReport] = field(default_factory=dict)
    largest_difference: float = 0.0
    """Largest difference between the slots of ONNX Runtime and of torch, relative to the largest
    slot entry."""
    slot_maps: list[Path] = field(default_factory=list)
    comparison: Comparison | None = None
    """TC-SSA and the methods beside it, on the same test slides."""
    new_slide: SlideSpec | None = None
    """The slide that is no part of the cohort, as it was drawn."""
    heatmaps: Heatmaps | None = None
    """The prediction and the heat map of the new slide."""

    @property
    def cohort(self) -> Path:
        """The drawn slides and their labels."""
        return self.folder / "cohort"

    @property
    def job(self) -> Path:
        """The job folder of the extraction."""
        return self.folder / "job"

    @property
    def run_folder(self) -> Path:
        """The trained run."""
        return self.folder / "run"

    @property
    def others(self) -> Path:
        """The sweep over the methods beside TC-SSA."""
        return self.folder / "others"

    @property
    def features(self) -> Path:
        """The patch features."""
        assert self.extracted is not None
        return self.extracted.features_folder


def run_demonstration(demo: Demonstration, output: Output) -> None:
    """Run the whole chain; steps whose results exist already are quick.

    Args:
        demo: The demonstration, which receives the results.
        output: Receives progress.
    """
    steps: list[tuple[str, Callable[[Demonstration, Output], None]]] = [
        ("draw slides", _draw),
        ("extract", _extract),
        ("train-mil", _train),
        ("compare", _compare),
        ("export", _export),
        ("encode", _encode),
        ("slot maps", _slot_maps),
        ("heatmap", _heatmap),
    ]
    _require_same(demo)
    for number, (name, step) in enumerate(steps, start=1):
        output.note(f"{number}/{len(steps)} {name}")
        begin = time.monotonic()
        step(demo, output)
        demo.seconds[name] = time.monotonic() - begin


def _require_same(demo: Demonstration) -> None:
    """Require that a folder holds one demonstration only.

    Raises:
        UsageError: The folder holds a demonstration of other slides or another seed.
    """
    path = demo.folder / "demo.json"
    asked = {"slides": demo.num_slides, "seed": demo.seed}
    if path.exists() and read_json(path, RunError, top=dict) != asked:
        raise UsageError(
            f"{demo.folder} holds a demo of other --slides or another --seed",
            hint="give another --out",
        )
    atomic.write_text(path, json.dumps(asked) + "\n")


def _draw(demo: Demonstration, output: Output) -> None:
    with output.task("drawing slides", demo.num_slides, "slides") as task:
        compose_cohort(
            demo.cohort,
            num_slides=demo.num_slides,
            seed=demo.seed,
            on_slide=lambda _: task.advance(),
        )


def _extract(demo: Demonstration, output: Output) -> None:
    slides = find_slides([demo.cohort / "slides"])
    demo.extracted = extract(slides, demo.job, ExtractSettings(), output)


def _train(demo: Demonstration, output: Output) -> None:
    """Train TC-SSA here and other methods in a process beside it, on the same folds."""
    others, told = _settings(demo, train={"final": "none"}), Silent()
    with ThreadPoolExecutor(1) as beside:
        swept = beside.submit(sweep, others, _OTHERS, demo.others, told)
        demo.metrics = train(_settings(demo), demo.run_folder, output).to_dict()
    for text in told.warnings:
        output.warn(text)
    for name, reason in swept.result().failed:
        raise TcssaError(f"{name} could not be trained: {reason}")


def _compare(demo: Demonstration, output: Output) -> None:
    """Compare TC-SSA with the methods that were trained beside it."""
    names = [point.name for point in points(_OTHERS)]
    runs = [demo.run_folder, *(demo.others / "runs" / name for name in names)]
    demo.comparison = compare(runs, None, output, out=demo.folder / "comparison")


def _settings(demo: Demonstration, **flags: dict[str, Any]) -> MilSettings:
    """Return the settings of a run, those of the preset but for ``flags``."""
    flags["train"] = {"seed": demo.seed, **flags.get("train", {})}
    return resolve(
        MilSettings,
        flags={"dataset": "demo", **flags},
        preset=partial(named_defaults, data_root=demo.folder),
    )


def _export(demo: Demonstration, output: Output) -> None:
    out = demo.folder / "artefact"
    checkpoint = open_checkpoint(demo.run_folder)
    if is_artefact(out):
        demo.artefact = Artefact.read(out)
        if demo.artefact.checkpoint_sha256 == checkpoint.sha256:
            return
    demo.artefact = export_compressor(
        checkpoint.model,
        out,
        format="onnx",
        checkpoint_sha256=checkpoint.sha256,
        encoder=checkpoint.encoder,
        overwrite=True,
        reporter=output,
    )


def _encode(demo: Demonstration, output: Output) -> None:
    for name, model in (("onnx", demo.folder / "artefact"), ("torch", demo.run_folder)):
        runtime = open_runtime(model, device="cpu")
        out = demo.folder / f"encoded-{name}"
        report = encode([demo.features], out, runtime, output)
        if report.failed or report.num_encoded + report.num_skipped < demo.num_slides:
            raise TcssaError(f"{len(report.failed)} slides could not be encoded with {name}")
        demo.encoded[name] = report
    demo.largest_difference = _largest_difference(demo.folder)


def _largest_difference(folder: Path) -> float:
    """Compare the slots that both runtimes wrote."""
    worst = 0.0
    for path in sorted((folder / "encoded-onnx").glob("*/*.h5")):
        other = folder / "encoded-torch" / path.parent.name / path.name
        with h5py.File(path) as ours, h5py.File(other) as theirs:
            a, b = np.asarray(ours["features"]), np.asarray(theirs["features"])
        worst = max(worst, float(np.abs(a - b).max() / max(1.0, np.abs(b).max())))
    return worst


def _slot_maps(demo: Demonstration, output: Output) -> None:
    """Draw the slot map of one slide of each class."""
    import torch

    compressor = open_checkpoint(demo.run_folder).model
    chosen = find_bags([demo.features])[:2]  # the labels of the cohort alternate
    for ref in chosen:
        with open_bag(ref) as bag:
            features, coords = bag.read(), bag.read_coords()
            side, width = bag.patch_size_level0, bag.attributes["level0_width"]
        assert coords is not None
        assert side is not None
        with torch.no_grad():
            assignments = compressor(torch.from_numpy(features)[None]).assignments
        thumbnail = read_rgb(demo.job / "thumbnails" / f"{ref.slide_id}.jpg", SlideError)
        out = demo.folder / "slot-maps" / f"{ref.slide_id}.png"
        draw_slot_map(
            out,
            thumbnail,
            float(width) / thumbnail.shape[1],
            coords,
            side,
            assignments[0, :, 0].numpy(),
            title=ref.slide_id,
        )
        demo.slot_maps.append(out)


def _heatmap(demo: Demonstration, output: Output) -> None:
    """Predict a slide of a patient that no model has seen, and draw what that rests on."""
    slide, demo.new_slide = compose_new_slide(
        demo.folder / "new-slide", num_slides=demo.num_slides, seed=demo.seed
    )
    demo.heatmaps = heatmap(demo.run_folder, slide, demo.folder / "heatmaps", reporter=output)
    if demo.heatmaps.failed:
        raise TcssaError(f"{slide.name} could not be drawn: {demo.heatmaps.failed[0].reason}")
