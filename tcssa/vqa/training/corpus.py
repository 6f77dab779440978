"""The rows of a training: both files read, what cannot be used left out, sides kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcssa.errors import UsageError
from tcssa.files.checksums import params_hash
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.data.slideinstruct import read_conversations
from tcssa.vqa.model.model_setup import Parts
from tcssa.vqa.model.slot_cache import Fault, Merged
from tcssa.vqa.settings import VqaSettings
from tcssa.vqa.training.batches import require_apart, split_by_case
from tcssa.vqa.training.rows import (
    Dropped,
    Row,
    RowMaker,
    check_dropped,
    count_dropped,
    write_dropped,
)

SKIPPED_FILE = "skipped.csv"


@dataclass(frozen=True)
class Candidates:
    """Rows as the question files and the beginnings of feature files give them."""

    train: list[Row]
    val: list[Row]
    dropped: Sequence[Dropped]
    """Rows of the training file that cannot be used."""
    val_dropped: Sequence[Dropped]
    num_chosen: int
    """Patients with several slides, of whom the rows show one or all."""

    @property
    def paths(self) -> list[Path]:
        """The feature files of all rows, each once."""
        return sorted({path for row in [*self.train, *self.val] for path in row.paths})

    @property
    def parts(self) -> list[Path | Merged]:
        """Return what the visual encoder is to see, each once: slides, and several as one."""
        parts = sorted({part for row in [*self.train, *self.val] for part in row.parts})
        return [part[0] if len(part) == 1 else part for part in parts]

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells the features of these rows from others."""
        rows = [*self.train, *self.val]
        hashes = {name: each for row in rows for name, each in row.features_hashes.items()}
        return {"features_hash": params_hash(hashes)}


@dataclass(frozen=True)
class Corpus:
    """Rows to train on, rows that choose the step that is kept, and rows that were left out."""

    train: list[Row]
    val: list[Row]
    dropped: list[Dropped]

    def fingerprint(self) -> dict[str, Any]:
        """Return the numbers of rows on each side, and of those left out."""
        return {
            "rows": {"train": len(self.train), "val": len(self.val)},
            "dropped": count_dropped(self.dropped),
        }


def read_candidates(settings: VqaSettings, parts: Parts) -> Candidates:
    """Read the conversations, and prepare those that can be used.

    Args:
        settings: Settings of the training.
        parts: The model that will see the rows, and its prompt builder.

    Raises:
        UsageError: The settings name no conversations or no features.
        FeatureDimError: Features are of another length than the model's.
    """
    corpus = settings.corpus
    if corpus.data is None or not corpus.features:
        raise UsageError("a corpus needs data and features")
    maker = RowMaker(
        parts.prompts,
        SlideIndex.from_folders(corpus.features, corpus.several),
        parts.model.visual,
        corpus.max_length,
    )
    train, dropped = _prepare(corpus.data, maker)
    val, val_dropped = _prepare(corpus.val_data, maker) if corpus.val_data else ([], [])
    return Candidates(train, val, dropped, val_dropped, len(maker.slides.chosen))


def make_corpus(
    settings: VqaSettings,
    candidates: Candidates,
    faulty: Mapping[Path, Fault],
    report_in: Path | None,
) -> Corpus:
    """Leave out the rows of faulty feature files, and divide what is left.

    Args:
        settings: Settings of the training.
        candidates: The rows.
        faulty: Feature files that cannot be used, and why.
        report_in: Folder for ``skipped.csv``, written before anything is refused; None writes none.

    Raises:
        DroppedRowsError: Too many rows cannot be used.
        SplitError: A patient stands in training and validation.
    """
    corpus = settings.corpus
    rows, dropped = _without(candidates.train, candidates.dropped, faulty)
    val, val_dropped = _without(candidates.val, candidates.val_dropped, faulty)
    if report_in is not None:
        write_dropped(report_in / SKIPPED_FILE, [*dropped, *val_dropped])
    check_dropped(rows, dropped, corpus.max_dropped)
    if corpus.val_data:
        check_dropped(val, val_dropped, corpus.max_dropped)
        require_apart(rows, val)
    else:
        rows, val = split_by_case(rows, corpus.val_fraction, settings.train.seed)
    return Corpus(rows, val, [*dropped, *val_dropped])


def _without(
    rows: Sequence[Row], dropped: Sequence[Dropped], faulty: Mapping[Path, Fault]
) -> tuple[list[Row], list[Dropped]]:
    kept, more = [], []
    for row in rows:
        if found := [path for path in row.paths if path in faulty]:
            more.append(Dropped(row.row_id, row.source, row.slide_id, *faulty[found[0]]))
        else:
            kept.append(row)
    return kept, [*dropped, *more]


def _prepare(path: Path, maker: RowMaker) -> tuple[list[Row], Sequence[Dropped]]:
    read = read_conversations(path, maker.slides.several)
    rows, dropped = maker.prepare(read.conversations)
    faulty = {fault.row: fault for fault in read.row_faults if fault.left_out}
    return rows, [
        *(
            Dropped("", f"{path.name}, row {row}", "", fault.kind, fault.detail)
            for row, fault in faulty.items()
        ),
        *dropped,
    ]
