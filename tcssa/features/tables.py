"""Slides in tables: their names and columns, and the patient and the site that a name tells.

The usual column names of the field are accepted (docs/formats.md): CLAM's
``case_id,slide_id,label``, the TC-SSA reference's ``slide_id,label``, PANDA's
``image_id,isup_grade``, STAMP's ``PATIENT,FILENAME``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tcssa.files.table import plain_name

SLIDE_COLUMNS = ("slide_id", "image_id", "sample_id", "filename", "slide", "wsi")
CASE_COLUMNS = (
    "case_id", "patient_id", "patient", "case", "case_submitter_id", "submitter_id", "subject_id",
    "subject", "bcr_patient_barcode", "participant_id",
)  # fmt: skip
SITE_COLUMNS = ("site", "tissue_source_site", "center", "centre", "hospital", "data_provider")
LABEL_COLUMNS = ("label", "isup_grade", "class", "target")
_SLIDE_EXTENSION = re.compile(
    r"\.(ome\.tiff?|ome\.zarr|svs|tiff?|ndpi|mrxs|scn|svslide|bif|vms|vmu|dcm|czi|h5|hdf5|pt|npy|csv)$",
    re.IGNORECASE,
)
_TCGA = re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)


Label = TypeVar("Label")
"""A label as read from its cells."""


@dataclass(frozen=True)
class LabelledSlide(Generic[Label]):
    """One row of a label table."""

    slide_id: str
    case_id: str
    label: Label
    case_is_known: bool = True
    """Whether the patient is known; otherwise the slide counts as a patient of its own."""
    site: str | None = None
    """The site the slide comes from, if the table or a TCGA barcode gives it."""
    line: int = field(default=0, compare=False)
    """Line of the table."""


def find_column(columns: Sequence[str], spellings: Sequence[str]) -> str | None:
    """Find a column by its possible names; case, spaces and underscores do not count.

    Args:
        columns: Names of the table's columns.
        spellings: Possible names, the preferred ones first.

    Returns:
        The column's name as the table spells it; None if there is none.
    """
    known = {plain_name(column): column for column in columns}
    return next((known[plain_name(name)] for name in spellings if plain_name(name) in known), None)


def slide_name(text: str) -> str:
    """Return the slide_id of a path or file name: without folders and a slide's extension."""
    return _SLIDE_EXTENSION.sub("", re.split(r"[/\\]", text)[-1])


def patient_of(slide_id: str) -> str:
    """Derive the patient of a slide from its slide_id, for tables that do not state it.

    A TCGA barcode names its patient in the first twelve characters; any other slide is taken
    to be a patient of its own.
    """
    return slide_id[:12].upper() if _TCGA.match(slide_id) else slide_id


def site_of(slide_id: str) -> str | None:
    """Return the tissue source site in a TCGA barcode; None for any other slide."""
    return slide_id[5:7].upper() if _TCGA.match(slide_id) else None
