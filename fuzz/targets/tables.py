"""Readers of tables and of questions."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from fuzz.mutations.json_values import mutate_json
from fuzz.mutations.octets import mutate_octets
from fuzz.mutations.text import mutate_text
from fuzz.oracles import tables as oracles
from fuzz.seeds import tables as seeds
from fuzz.target import Mutate, Oracle, Target
from tcssa.errors import MissingDataError, TableError
from tcssa.features import read_features, read_labels
from tcssa.features.import_bags import import_bags
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.results.prediction_tables import read_predictions
from tcssa.mil.tasks.serialization import named_task
from tcssa.slides import manifest
from tcssa.vqa.conversation import Question
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.data.slideinstruct import read_conversations
from tcssa.vqa.evaluation.predictions import read_predictions as read_answers
from tcssa_runtimes.archive import inputs

_TEXT = ("tcssa.files.table", "tcssa.files.text")
_QUESTIONS = [
    Question(
        row_id=name, slides=("S",), text="?", options=("one", "two"), answer="A", answer_text="one",
        categories={}, source="x",
    )
    for name in "12"
]  # fmt: skip


def _beside(path: Path, name: str) -> Path:
    """Put a file that a table may name beside it."""
    (path.parent / name).touch()
    return path


def read_slides(path: Path) -> Any:
    """Read a manifest of slides, one of which is there."""
    return manifest.read_manifest(_beside(path, seeds.HERE))


def read_archive(path: Path) -> Any:
    """Read a manifest of feature files, one of which is there."""
    return inputs.read_manifest(_beside(path, seeds.FEATURES_HERE))


def read_instances(path: Path) -> dict[str, Any]:
    """Import bags, and read back what was written."""
    out = path.parent / "imported"
    shutil.rmtree(out, ignore_errors=True)
    made = import_bags(path, out)
    bags = sorted(made.features.iterdir())
    return {
        "bags": made.num_bags,
        "labels": made.labels.read_bytes(),
        "features": [read_features(bag) for bag in bags],
    }


def _table(
    name: str,
    texts: tuple[str, ...],
    read: Any,
    oracle: Oracle,
    *covered: str,
    errors: Any = (TableError,),
    mutate: Mutate = mutate_text,
) -> Target:
    return Target(
        name, ".csv", partial(seeds.encoded, texts), read, errors, mutate, oracle,
        covered=(*_TEXT, *covered),
    )  # fmt: skip


TARGETS = (
    _table("labels", seeds.LABELS, read_labels, oracles.check_labels, "tcssa.features.tables"),
    _table("slides", seeds.SLIDES, read_slides, oracles.check_slides, "tcssa.slides.manifest"),
    _table(
        "resolutions", seeds.SLIDES, manifest.read_resolutions, oracles.check_resolutions,
        "tcssa.slides.manifest",
    ),
    _table(
        "splits", seeds.SPLITS, read_parts, oracles.check_splits, "tcssa.mil.cohort.split_files"
    ),
    _table(
        "archive",
        seeds.ARCHIVE,
        read_archive,
        oracles.check_archive,
        "tcssa_runtimes.archive.inputs",
        errors=(TableError, MissingDataError),
    ),
    _table(
        "predictions", seeds.PREDICTIONS,
        lambda path: read_predictions(path, named_task(None, ["a", "b"])),
        oracles.check_predictions, "tcssa.mil.results.prediction_tables", "tcssa.mil.tasks.classes",
    ),
    _table(
        "slidebench", seeds.SLIDEBENCH, partial(read_benchmark, "slidebench-tcga"),
        oracles.check_questions, "tcssa.vqa.data.slidebench", "tcssa.vqa.data.benchmark",
    ),
    _table(
        "answers", seeds.ANSWERS, lambda path: read_answers(path, _QUESTIONS),
        oracles.check_answers, "tcssa.vqa.evaluation.predictions",
        "tcssa.vqa.evaluation.answer_file",
    ),
    Target(
        "answer-lines", ".jsonl", partial(seeds.encoded, seeds.ANSWER_LINES),
        lambda path: read_answers(path, _QUESTIONS), (TableError,), mutate_text,
        covered=(*_TEXT, "tcssa.vqa.evaluation.predictions", "tcssa.vqa.evaluation.answer_file"),
    ),
    Target(
        "wsi-vqa", ".json", seeds.wsi_vqa, partial(read_benchmark, "wsi-vqa"), (TableError,),
        mutate_json, covered=(*_TEXT, "tcssa.vqa.data.slidebench"),
    ),
    Target(
        "conversations", ".json", seeds.conversations, read_conversations, (TableError,),
        mutate_json, covered=(*_TEXT, "tcssa.vqa.data.slideinstruct"),
    ),
    Target(
        "instances", ".csv", partial(seeds.plain, seeds.INSTANCES), read_instances, (TableError,),
        mutate_text, oracles.check_instances,
    ),
    Target(
        "instances-gz", ".csv.gz", partial(seeds.gzipped, seeds.INSTANCES), read_instances,
        (TableError,), mutate_octets, oracles.check_instances,
    ),
)  # fmt: skip
