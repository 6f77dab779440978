"""Files of patients beside those of their slides: what ``encode --by case`` adds.

::

    OUT/case_features_tcssa/C.h5    the merge of the slides' files (`tcssa_runtimes.archive.merge`)
    OUT/cases.csv                   a row a patient, with the slides that the file is of

The features of a slide are read once, for the slide's own file. A patient's file is done when it is
of the slides' very inputs, so that a slide that is new or changed renews it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.errors import FileError, ShapeError, UsageError, counted
from tcssa.features.patients import cases_of, require_file_names, warn_of_unknown
from tcssa.files import atomic
from tcssa.files.forwarding import look_again
from tcssa.reporter import Reporter
from tcssa_runtimes.archive.archive_index import FailedSlide, write_case_index
from tcssa_runtimes.archive.merge import joined_origin, require_last_half, write_merged
from tcssa_runtimes.archive.slot_files import read_facts
from tcssa_runtimes.archive.stored_slots import EncodedFacts
from tcssa_runtimes.contract.base import Runtime

FOLDER, INDEX = "case_features_tcssa", "cases.csv"


@dataclass
class CaseFiles:
    """The patients of an archive, and what became of their files."""

    table: Mapping[str, str] = field(default_factory=dict)
    """case_id by slide_id, as `tcssa.features.patients.read_cases` returns it."""
    num_merged: int = 0
    """Patients whose file this call wrote."""
    num_skipped: int = 0
    """Patients whose file was done before."""
    failed: list[FailedSlide] = field(default_factory=list)
    """Patients whose file could not be made."""
    _slides: dict[str, list[str]] = field(default_factory=dict)
    """The slides of each patient, sorted."""

    def plan(self, slide_ids: Iterable[str], runtime: Runtime, reporter: Reporter) -> None:
        """Find the patients of slides, before anything is encoded.

        Args:
            slide_ids: The slides that are to be encoded.
            runtime: The model.
            reporter: Told how many patients there are, and warned of slides without one.

        Raises:
            UsageError: The model cannot add slides up, or a case_id is no plain name of a file.
        """
        names = sorted(slide_ids)
        require_last_half(runtime)
        known = cases_of(names, self.table, reporter.note)
        slides: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            slides[known.get(name, name)].append(name)
        require_file_names(slides)
        if runtime.facts.spatial and len(slides) < len(names):
            raise UsageError(
                f"{runtime.facts.path} reads where patches lie, and places of different slides do "
                "not add up",
                hint="encode without --by case",
            )
        warn_of_unknown(names, known, reporter)
        patients = counted(len(slides), "patient")
        reporter.note(f"by case: {counted(len(names), 'slide')} of {patients}")
        self._slides = dict(slides)

    def merge(
        self,
        encoded: Mapping[str, EncodedFacts],
        empty: Collection[str],
        out: Path,
        runtime: Runtime,
        reporter: Reporter,
        *,
        taken: Collection[str] = (),
        overwrite: bool = False,
    ) -> None:
        """Merge the files of each patient's slides, and write the index of patients.

        A patient with a slide that was not encoded is named as failed. Processes that share the
        archive do this one after another, each when it knows what the others have done.

        Args:
            encoded: Facts of the slides' files, by slide_id.
            empty: Slides without a single patch, which add nothing.
            out: The output folder.
            runtime: The model; it is entered only if there is something to merge.
            reporter: Told of progress, and of patients that fail.
            taken: Slides that other processes have in work, who merge their patients.
            overwrite: Merge again what is done already.

        Raises:
            DiskFullError: There is no space left; finished files are kept.
        """
        atomic.discard_leftovers(out / FOLDER)
        look_again(out / FOLDER)
        rows: list[tuple[EncodedFacts, list[str]]] = []
        to_do: dict[Path, list[EncodedFacts]] = {}
        num_left = 0
        for case_id, names in self._slides.items():
            path = out / FOLDER / f"{case_id}.h5"
            lacking = [name for name in names if name not in encoded and name not in empty]
            failed = [name for name in lacking if name not in taken]
            slides = [encoded[name] for name in names if name in encoded]
            if failed:
                self._fail(path, f"is not merged without its slide {failed[0]}", None, reporter)
            elif lacking:
                num_left += 1
            elif slides and (done := _done(path, slides, runtime)) and not overwrite:
                rows.append((done, [slide.name for slide in slides]))
            elif slides:
                to_do[path] = slides
        if num_left:
            patients = counted(num_left, "patient")
            reporter.note(f"{patients} left to the processes that have slides of theirs in work")
        self.num_skipped = len(rows)
        if to_do:
            with runtime, reporter.task("merge", len(to_do), "patients") as task:
                for path, slides in to_do.items():
                    merged = self._merge(path, slides, runtime, reporter)
                    if merged is not None:
                        rows.append((merged, [slide.name for slide in slides]))
                    task.advance()
        self.num_merged = len(rows) - self.num_skipped
        write_case_index(out / INDEX, rows)

    def _merge(
        self, path: Path, slides: Sequence[EncodedFacts], runtime: Runtime, reporter: Reporter
    ) -> EncodedFacts | None:
        try:
            return write_merged([slide.path for slide in slides], path, runtime).facts
        except (FileError, ShapeError) as error:
            self._fail(path, str(error), error.hint, reporter)
            return None

    def _fail(self, path: Path, reason: str, hint: str | None, reporter: Reporter) -> None:
        self.failed.append(FailedSlide(path, reason, hint))
        reporter.warn(f"{path.name} was not made: {reason}")


def _done(path: Path, slides: Sequence[EncodedFacts], runtime: Runtime) -> EncodedFacts | None:
    """Return the facts of a patient's file if this model made it of these very slides."""
    facts, origin = read_facts(path), joined_origin([slide.origin for slide in slides])
    if facts is None or facts.budget != runtime.budget_text:
        return None
    scale = slides[0].um_per_coord if len(slides) == 1 else None
    is_same = facts.origin.input_hash == origin.input_hash and facts.um_per_coord == scale
    return facts if is_same and facts.origin.model_sha256 == origin.model_sha256 else None
