"""A labelled cohort: slides with their label, their patient and their features."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from tcssa.errors import (
    FeatureDimError,
    MissingDataError,
    TableError,
    UsageError,
    counted,
)
from tcssa.features import Bag, BagRef, LabelledSlide, index_bags, open_bag
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.features.name_matching import by_barcode, matched_names, nearest, shown
from tcssa.features.patch_widths import is_other_width
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks import Classes, MilTask, Truth, read_task
from tcssa.mil.tasks.serialization import task_facts


@dataclass(frozen=True)
class CohortSlide:
    """One slide of a cohort, or all slides of a patient where these are one bag."""

    slide_id: str
    case_id: str
    label: int
    """Index into `Cohort.classes`; for other kinds of label see `MilTask.label_of`."""
    path: Path
    num_patches: int
    site: str | None = None
    """Site where the slide was made, if known."""
    has_coords: bool = False
    """Whether its feature file holds the coordinates of patches."""
    um_per_coord: float | None = None
    """Micrometres per unit of its coordinates, if the file states it."""
    stored_as: str = "float32"
    """Number format of its features."""
    truth: Truth = ()
    """The whole label; for plain classes the same as ``label``."""
    parts: tuple[CohortSlide, ...] = ()
    """The slides of a patient whose patches are one bag; empty for a slide."""

    @classmethod
    def of_case(cls, slides: Sequence[Self]) -> Self:
        """Return all slides of one patient as one bag, named as the patient.

        Its patches are those of one slide after another, in the order of their slide_id.
        """
        parts = tuple(sorted(slides, key=lambda slide: slide.slide_id))
        return replace(
            parts[0],
            slide_id=parts[0].case_id,
            num_patches=sum(part.num_patches for part in parts),
            has_coords=all(part.has_coords for part in parts),
            parts=parts,
        )

    @property
    def slides(self) -> tuple[CohortSlide, ...]:
        """The slides that its patches are of: itself, or those of a patient."""
        return self.parts or (self,)


@dataclass(frozen=True)
class Cohort:
    """Slides that have a label and features of one encoder."""

    slides: list[CohortSlide]
    classes: list[str]
    """Names of the labels; see `MilTask.label_names`."""
    feature_dim: int
    encoder: str | None
    labels_sha256: str
    features_hash: str
    """Hash over the slide_id, the size and some rows of every file; other features change it."""
    unknown_patients: int = 0
    """Number of slides whose patient is not stated; each counts as a patient of its own."""
    skipped: dict[str, str] = field(default_factory=dict)
    """slide_id of each labelled slide that was left out, with the reason."""
    task: MilTask = field(default_factory=Classes)
    """The kind of label."""
    readings: list[str] = field(default_factory=list)
    """What was read in one of several ways, in sentences."""
    extraction: ExtractionRecord = field(default_factory=ExtractionRecord)
    """How the patches were made, as far as all files state it alike."""
    patch_um: dict[str, float] = field(default_factory=dict)
    """Width of a patch in µm, by the slide_id of each slide whose file states it."""
    unit: Literal["slide", "case"] = "slide"
    """What one bag is."""

    def bags(self, slides: Sequence[CohortSlide]) -> list[CohortSlide]:
        """Return slides as the bags that are learnt from: each, or by case those of a patient."""
        if self.unit == "slide":
            return list(slides)
        cases: defaultdict[str, list[CohortSlide]] = defaultdict(list)
        for slide in slides:
            cases[slide.case_id].append(slide)
        return [CohortSlide.of_case(of_case) for of_case in cases.values()]

    def unknown_labels(self) -> list[str]:
        """Return a sentence for each of several targets that is not known for some slides."""
        total = len(self.slides)
        return [
            f"target {target} is not known for {total - len(known)} of {total} slides"
            for target, known in self.task.views(self.slides).items()
            if len(known) < total
        ]

    def mixed_widths(self) -> str | None:
        """Return a sentence on patches whose widths in µm differ by over 10 %; None for none."""
        widths: defaultdict[float, list[str]] = defaultdict(list)
        for name, width in self.patch_um.items():
            widths[width].append(name)
        if not widths or not is_other_width(max(widths), min(widths)):
            return None
        each = ", ".join(
            f"{width:g} µm in {counted(len(names), 'slide')} ({shown(names)})"
            for width, names in sorted(widths.items())
        )
        return f"patches are of several widths: {each}; what tells them apart may be the grid"

    def fingerprint(self, *, with_places: bool = False) -> dict[str, object]:
        """Return the facts by which a run recognises the cohort that it was trained on.

        Args:
            with_places: Whether the coordinates and their unit are part of it, as they are for a
                model that is told where patches lie in µm.
        """
        places = {"places_hash": self._places_hash()} if with_places else {}
        return {
            **places,
            "labels_sha256": self.labels_sha256,
            "features_hash": self.features_hash,
            "slides": len(self.slides),
            "patches": sum(slide.num_patches for slide in self.slides),
            "feature_dim": self.feature_dim,
            "encoder": self.encoder,
            **task_facts(self.task),
        }

    def _places_hash(self) -> str:
        """Hash the unit of each slide's coordinates and three of them, which stand for the rest."""
        digest = hashlib.sha256()
        for slide in sorted(self.slides, key=lambda slide: slide.slide_id):
            digest.update(f"{slide.slide_id} {slide.um_per_coord}".encode())
            with open_bag(slide.path) as bag:
                for row in (0, bag.num_patches // 2, bag.num_patches - 1):
                    corner = bag.read_coords(row, row + 1)
                    digest.update(str(None if corner is None else corner.tolist()).encode())
        return digest.hexdigest()


def read_cohort(data: CohortSettings, *, task: MilTask | None = None) -> Cohort:
    """Join a label table with a folder of features.

    Args:
        data: Where labels and features are, and of which kind the labels are.
        task: Task of the run that is to predict the cohort; None to take it from the labels, as
            for training.

    Raises:
        UsageError: Labels or features were not given, or files are of several encoders.
        MissingDataError: Labelled slides have no features (unless they may be skipped).
        TableError: The table is faulty, holds too few classes, or, by case, slides of a patient
            have different labels.
        FeatureFileError: A feature file is broken.
        FeatureDimError: A file holds features of another length than the others.
    """
    if data.labels is None or data.features is None:
        raise UsageError(
            "a cohort needs labels and features",
            hint="give --labels CSV --features DIR, or a preset with --dataset NAME",
        )
    task, labelled, unlabelled, readings = read_task(data, task)
    unlabelled |= {r.slide_id: "no target is known" for r in labelled if set(r.label) == {None}}
    # the order of a table's rows must not change what is learnt
    rows = sorted(
        (row for row in labelled if row.slide_id not in unlabelled), key=lambda row: row.slide_id
    )
    bags = index_bags(data.features)
    names = matched_names((row.slide_id for row in rows), bags)
    opened, skipped = _open_bags(rows, {name: bags[stem] for name, stem in names.items()}, task)
    if not opened or (skipped and not data.skip_missing):
        raise _unusable(data, [row.slide_id for row in rows], bags, names, skipped)
    feature_dim, encoder = _agreed(opened)
    slides = [bag.slide for bag in opened]
    if data.unit == "case":
        readings = [*readings, _cases_read(slides, data.labels)]
    else:
        readings = readings + _unlike_slides(slides, task)
    readings += _unnamed(bags.keys(), matched_names([*names, *unlabelled], bags).values())
    return Cohort(
        slides,
        task.label_names,
        feature_dim,
        encoder,
        labels_sha256=_labels_hash(data.labels, data.slide_table),
        features_hash=params_hash({bag.slide.slide_id: bag.sample for bag in opened}),
        unknown_patients=sum(not bag.patient_is_known for bag in opened),
        skipped=dict(sorted((skipped | unlabelled).items())),
        task=task,
        readings=readings + by_barcode(names, "features"),
        extraction=ExtractionRecord.agreed([bag.extraction for bag in opened]),
        patch_um={
            bag.slide.slide_id: width for bag in opened if (width := bag.extraction.patch_um)
        },
        unit=data.unit,
    )


def _unnamed(files: Collection[str], named: Collection[str]) -> list[str]:
    """Return a sentence on feature files of slides that the table does not name."""
    unnamed = [name for name in files if name not in named]
    if not unnamed:
        return []
    of_all = counted(len(files), "feature file")
    return [
        f"{len(unnamed)} of {of_all} are of slides that the table does not name, not used: "
        f"{shown(unnamed)}"
    ]


def _cases_read(slides: Sequence[CohortSlide], labels: Path) -> str:
    """Say in a sentence how many slides are how many bags.

    Raises:
        TableError: Two slides of a patient have different labels.
    """
    first: dict[str, CohortSlide] = {}
    faults = [
        f"patient {slide.case_id!r}: slides {one.slide_id!r} and {slide.slide_id!r} have "
        "different labels"
        for slide in slides
        if (one := first.setdefault(slide.case_id, slide)).truth != slide.truth
    ]
    if faults:
        hint = "a patient is one bag with one label: correct the table, or train by slide"
        raise TableError(labels, faults, hint=hint)
    num_slides, patients = counted(len(slides), "slide"), counted(len(first), "patient")
    return f"by case: {num_slides} of {patients} are {counted(len(first), 'bag')}"


def _unlike_slides(slides: Sequence[CohortSlide], task: MilTask) -> list[str]:
    """Return a sentence on patients whose slides differ in their label, where that may be an error.

    Numbers are a slide's own, and of several targets some may not be known.
    """
    if task.kind not in ("classes", "ordinal", "survival"):
        return []
    labels: defaultdict[str, set[Truth]] = defaultdict(set)
    for slide in slides:
        labels[slide.case_id].add(slide.truth)
    unlike = [name for name, truths in labels.items() if len(truths) > 1]
    if not unlike:
        return []
    patients = counted(len(labels), "patient")
    return [f"{len(unlike)} of {patients} have slides of different labels: {shown(unlike)}"]


def _labels_hash(labels: Path, slide_table: Path | None) -> str:
    """Hash the content of the label table, and of the table of slides if there is one."""
    if slide_table is None:
        return file_sha256(labels)
    return params_hash({"labels": file_sha256(labels), "slide_table": file_sha256(slide_table)})


def _unusable(
    data: CohortSettings,
    slides: Sequence[str],
    bags: Mapping[str, BagRef],
    names: Mapping[str, str],
    skipped: dict[str, str],
) -> MissingDataError:
    """Make the error for slides without features; it says whether the names are at fault."""
    assert data.labels is not None  # the cohort requires it
    if not slides:
        return MissingDataError(f"{data.labels}: no slide has a label that can be used")
    lone = bags.keys() - names.values()
    if not names:
        labels = f"{counted(len(slides), 'label')} ({shown(slides)})"
        files = f"{counted(len(bags), 'file')} ({shown(lone)})"
        return MissingDataError(
            f"no slide of {data.labels.name} is among the features: {labels}, {files}; "
            f"{nearest(slides, lone)}",
            hint="the names do not match: a feature file is named as its slide, S.h5 for S; rename "
            f"files or labels, or name the column with --slide-column; features: {data.features}",
        )
    missing = [name for name in slides if name not in names]
    near = f"; {nearest(missing, lone)}" if missing and lone else ""
    skip = "" if len(skipped) == len(slides) else ", or leave them out with --skip-missing"
    return MissingDataError(
        f"{len(skipped)} of {len(slides)} labelled slides cannot be used: "
        f"{listed(skipped, 3 if near else 5)}{near}",
        hint=f"extract them into {data.features}{skip}",
    )


class _Opened(NamedTuple):
    """Facts read from one slide's feature file."""

    slide: CohortSlide
    feature_dim: int
    encoder: str | None
    sample: str
    patient_is_known: bool
    extraction: ExtractionRecord


def _open_bags(
    rows: Sequence[LabelledSlide[Truth]], bags: Mapping[str, BagRef], task: MilTask
) -> tuple[list[_Opened], dict[str, str]]:
    """Open the features of every labelled slide; also return which have none, and why."""
    opened: list[_Opened] = []
    skipped: dict[str, str] = {}
    for row in rows:
        if row.slide_id not in bags:
            skipped[row.slide_id] = "no feature file"
            continue
        with open_bag(bags[row.slide_id]) as bag:
            if bag.num_patches == 0:
                skipped[row.slide_id] = "no patches"
                continue
            slide = CohortSlide(
                row.slide_id,
                row.case_id,
                task.label_of(row.label),
                bag.path,
                bag.num_patches,
                row.site,
                has_coords=bag.coords is not None,
                um_per_coord=bag.um_per_coord,
                stored_as=np.dtype(bag.features.dtype).name,
                truth=row.label,
            )
            facts = (bag.feature_dim, bag.encoder, _sample(bag), row.case_is_known)
            opened.append(_Opened(slide, *facts, ExtractionRecord.of(bag.attributes)))
    return opened, skipped


def _sample(bag: Bag) -> str:
    """Hash a bag's size and three of its rows, which stand for its content."""
    digest = hashlib.sha256(f"{bag.num_patches} {bag.feature_dim}".encode())
    for row in (0, bag.num_patches // 2, bag.num_patches - 1):
        digest.update(np.ascontiguousarray(bag.read(row, row + 1)).tobytes())
    return digest.hexdigest()


def listed(names: dict[str, str], most: int = 5) -> str:
    """List slides with their reasons in one line, the first few of them.

    Args:
        names: slide_id to reason.
        most: Number of slides that are listed; of the others only the number is given.
    """
    shown = ", ".join(f"{name} ({reason})" for name, reason in list(names.items())[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _agreed(bags: Sequence[_Opened]) -> tuple[int, str | None]:
    """Return the D and the encoder that all files share; raise for the first that differs."""
    feature_dim = Counter(bag.feature_dim for bag in bags).most_common(1)[0][0]
    encoder = Counter(bag.encoder for bag in bags).most_common(1)[0][0]
    for bag in bags:
        if bag.feature_dim != feature_dim:
            raise FeatureDimError(bag.slide.path, feature_dim, bag.feature_dim)
        if bag.encoder != encoder:
            raise UsageError(
                f"{bag.slide.path}: features of encoder {bag.encoder!r}, the other files have "
                f"{encoder!r}",
                hint="train on features of one encoder",
            )
    return feature_dim, encoder
