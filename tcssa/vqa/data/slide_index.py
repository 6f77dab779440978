"""Index that finds the feature file of a slide named in a question file.

Question files name slides in their own way: by a path on another machine, with or without the
UUID of the GDC, or by the patient alone. Names are compared whole: DX1 is never taken for DX10.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tcssa.errors import AmbiguousFeaturesError, MissingFeaturesError, UsageError
from tcssa.features import find_all_bags
from tcssa.features.tables import patient_of, slide_name
from tcssa.reporter import Reporter
from tcssa.vqa.settings import TOGETHER, SeveralSlides

_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
_VARIANT = re.compile(r"_[01]_(512|1024)$")
_PREFERRED = "_0_1024"
_UUID = re.compile(r"\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)


class SlideIndex:
    """Feature files by the names of their slides.

    Args:
        paths: Feature files.
        place: The folders they lie in, named in errors.
        several: What to do where a patient has several slides.
    """

    def __init__(
        self, paths: Iterable[Path], place: Path | str, several: SeveralSlides = "error"
    ) -> None:
        self.place, self.several = place, several
        self.chosen: dict[str, tuple[Path, ...]] = {}
        """Patients with several slides that were asked for: the slide taken, then the others; all
        in their order where they are shown together."""
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        self._by_barcode: defaultdict[str, list[Path]] = defaultdict(list)
        self._by_patient: defaultdict[str, list[Path]] = defaultdict(list)
        for name, path in _by_slide(paths):
            self._by_name[name].append(path)
            barcode, has_uuid = without_uuid(name)
            if has_uuid:
                self._by_barcode[barcode].append(path)
            if patient_of(name) != name:
                self._by_patient[patient_of(name)].append(path)

    @classmethod
    def from_folders(cls, folders: Sequence[Path], several: SeveralSlides = "error") -> SlideIndex:
        """Index all feature files of folders or jobs, and of all folders below them.

        Args:
            folders: The folders.
            several: What to do where a patient has several slides.

        Raises:
            MissingDataError: A folder does not exist, or holds no feature file.
            UsageError: Two folders hold features of one slide.
        """
        paths = [ref.address for ref in find_all_bags(folders)]
        index = cls(paths, ", ".join(map(str, folders)), several)
        for name, found in index._by_name.items():
            if len({path.parent for path in found}) > 1:
                raise UsageError(
                    f"two files hold features of slide {name!r}: {found[0]} and {found[1]}",
                    hint="give the folder of one of them with --features",
                )
        return index

    def find(self, slide: str) -> tuple[Path, ...]:
        """Return the feature file of a slide, or those of all slides of a patient, by name.

        Args:
            slide: A slide's name, a path of it (only its last part counts), or a TCGA patient.

        Raises:
            MissingFeaturesError: No file belongs to the slide.
            AmbiguousFeaturesError: Several files belong to it, and ``several`` neither chooses one
                nor shows all.
        """
        name = slide_name(slide)
        barcode, has_uuid = without_uuid(name)
        if found := self._by_name.get(name):
            return self._only(slide, found)
        if not has_uuid and (found := self._by_barcode.get(name)):
            return self._only(slide, found)
        if has_uuid and (found := self._by_name.get(barcode)):  # the file names no UUID
            return self._only(slide, found)
        if _PATIENT.fullmatch(name) and (found := self._by_patient.get(name.upper())):
            return self._of_patient(name, found)
        near = self._by_barcode.get(barcode) or self._by_patient.get(patient_of(name), [])
        raise MissingFeaturesError(slide, self.place, [path.name for path in near])

    def _only(self, slide: str, found: Sequence[Path]) -> tuple[Path, ...]:
        if len(found) > 1:
            raise AmbiguousFeaturesError(
                slide, found, hint="keep one of these files, or name the slide with its UUID"
            )
        return (found[0],)

    def _of_patient(self, patient: str, found: Sequence[Path]) -> tuple[Path, ...]:
        if len(found) == 1:
            return (found[0],)
        if self.several in TOGETHER:
            self.chosen[patient] = tuple(found)
            return tuple(found)
        chosen: Sequence[Path] = ()
        if self.several == "first":
            chosen = found[:1]
        elif self.several == "dx1":
            chosen = [p for p in found if without_uuid(slide_name(p.name))[0].endswith("-DX1")]
        if len(chosen) != 1:
            raise AmbiguousFeaturesError(
                patient,
                found,
                hint="choose with --several dx1 or first, show all with merge or concat, or name "
                "the slide",
            )
        self.chosen[patient] = (chosen[0], *(path for path in found if path != chosen[0]))
        return (chosen[0],)


def _by_slide(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Pair slide names with files; of SlideChat's variants of one slide take the preferred one.

    The variants are called ``S.<uuid>_<i>_<size>.npy``; the field prefers ``_0_1024``.
    """
    named = [(slide_name(path.name), path) for path in sorted(paths)]
    preferred = {_VARIANT.sub("", name) for name, _ in named if name.endswith(_PREFERRED)}
    kept = []
    for name, path in named:
        slide = _VARIANT.sub("", name)
        if slide == name or name.endswith(_PREFERRED) or slide not in preferred:
            kept.append((slide, path))
    return kept


def warn_of_chosen(num_chosen: int, several: SeveralSlides, reporter: Reporter) -> None:
    """Tell of how many patients one slide was taken, or all were shown.

    Args:
        num_chosen: Patients with several slides that were asked for.
        several: What became of their slides.
        reporter: Told of them.
    """
    if num_chosen and several in TOGETHER:
        reporter.note(
            f"{num_chosen} patients have several slides; all of each were shown "
            f"(--several {several})"
        )
    elif num_chosen:
        reporter.warn(
            f"{num_chosen} patients have several slides; of each one was taken "
            f"(--several {several})"
        )


def without_uuid(name: str) -> tuple[str, bool]:
    """Return a slide's name without the UUID that the GDC adds, and whether it had one."""
    barcode = _UUID.sub("", name)
    return barcode, barcode != name
