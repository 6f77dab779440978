"""Search of folders for slides: files, DICOM series and OME-Zarr images, by their content.

Links are followed, each folder is searched once, and hidden folders are not. What cannot be read is
listed as a slide, so that it fails by name and the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcssa.errors import SlideError, printable
from tcssa.features.lazyslide_store import is_lazyslide
from tcssa.files.boundary import is_folder
from tcssa.files.dicom import SUFFIX as DICOM_SUFFIX
from tcssa.files.dicom import dicom_series
from tcssa.reporter import Reporter
from tcssa.slides.readers.zarr_reader import image_folders, is_label, is_zarr_array, is_zarr_node

SLIDE_SUFFIXES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".svslide", ".bif", ".vms", ".vmu", ".czi",
)  # fmt: skip
"""Suffixes of the slides in a folder. Plain images count as slides only where the user names them:
thumbnails, masks and labels lie in such folders too."""
_ZARR_SUFFIX = ".zarr"
_HIDDEN = ("$recycle.bin", "system volume information", "#recycle", "#snapshot", "@eadir")
"""Folders that other systems hide: deleted files, snapshots and thumbnails lie in them."""
_SHOWN_NAMES = 3

_HIDDEN_FOLDER = "hidden folders"
_REPEATED = "links to folders that are searched already"
_NO_DICOM_SLIDE = "DICOM files, which are no slide images (of another kind, labels or overviews)"
_LABELS = "images of OME-Zarr stores are labels or thumbnails"
_FEATURES = "stores of LazySlide, which hold features"
_REMARKS_ONLY = (_HIDDEN_FOLDER, _REPEATED, _FEATURES)


@dataclass(frozen=True)
class FoundSlide:
    """A slide in a folder.

    Attributes:
        path: Its file or folder; of a DICOM series that shares a folder, its first file.
        name: What it is called where its own file or folder does not tell; else None.
    """

    path: Path
    name: str | None = None


@dataclass
class Findings:
    """The slides of a folder, sorted, and what lies there and is none, by the reason."""

    slides: list[FoundSlide] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, path: Path, why: str) -> None:
        """Note something that is no slide."""
        self.left_out.setdefault(why, []).append(path)

    def tell(self, reporter: Reporter) -> None:
        """Tell how many things were left out, and the first of their names."""
        for why, paths in self.left_out.items():
            names = ", ".join(printable(str(path)) for path in paths[:_SHOWN_NAMES])
            more = f" and {len(paths) - _SHOWN_NAMES} more" if len(paths) > _SHOWN_NAMES else ""
            say = reporter.note if why in _REMARKS_ONLY else reporter.warn
            say(f"left out: {len(paths)} {why}: {names}{more}")


def search(root: Path) -> Findings:
    """Search a folder for slides, all the way down; it may be a slide itself."""
    findings = Findings()
    seen: set[tuple[int, int]] = set()
    waiting, links = [root], list[Path]()
    while waiting or links:
        # what lies in the folder itself goes before what links lead to
        here = waiting.pop() if waiting else links.pop(0)
        try:
            status = here.stat()
            folders, files = _listed(here)
        except OSError:
            name = "__".join(here.relative_to(root).parts) or here.name
            findings.slides.append(FoundSlide(here, name))
            continue
        if (status.st_dev, status.st_ino) in seen:
            findings.leave_out(here, _REPEATED)
            continue
        seen.add((status.st_dev, status.st_ino))
        if here != root and is_lazyslide(here):
            findings.leave_out(here, _FEATURES)
            continue
        findings.slides.extend(_slides_among(here, files, findings))
        if here.suffix.lower() == _ZARR_SUFFIX or is_zarr_node(here):
            findings.slides.extend(_slides_of_store(here, findings))
            continue
        for path in folders:
            if path.name.startswith(".") or path.name.lower() in _HIDDEN:
                findings.leave_out(path, _HIDDEN_FOLDER)
            else:
                (links if path.is_symlink() else waiting).append(path)
    findings.slides.sort(key=lambda slide: slide.path)
    return findings


def is_slide_folder(path: Path) -> bool:
    """Tell whether a folder is one slide: an OME-Zarr image, or a DICOM series alone."""
    if not is_folder(path):
        return False
    if path.suffix.lower() == _ZARR_SUFFIX or is_zarr_node(path):
        return [slide.path for slide in _slides_of_store(path, Findings())] == [path]
    try:
        _, files = _listed(path)
    except OSError:
        return True  # it fails by name when it is opened
    return [slide.path for slide in _slides_among(path, files, Findings())] == [path]


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the folders in a folder, and its other entries that are not hidden, both sorted.

    Raises:
        OSError: The folder may not be listed or entered.
    """
    if not os.access(folder, os.X_OK):
        raise PermissionError(f"{folder} may not be entered")
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            # most file systems tell a folder from a file as they list them
            if is_folder(Path(entry)) if entry.is_symlink() else entry.is_dir():
                folders.append(Path(entry))
            elif not entry.name.startswith("."):
                files.append(Path(entry))
    return folders, files


def _slides_among(here: Path, files: Sequence[Path], findings: Findings) -> list[FoundSlide]:
    """List the slides among the files of a folder, which may itself be a DICOM slide."""
    named = [FoundSlide(file) for file in files if file.suffix.lower() in SLIDE_SUFFIXES]
    if not any(file.suffix.lower() == DICOM_SUFFIX for file in files):
        return named
    series = dicom_series(file for file in files if file.suffix.lower() not in SLIDE_SUFFIXES)
    taken = {file for members in series.values() for file in members}
    for file in files:
        if file.suffix.lower() == DICOM_SUFFIX and file not in taken:
            findings.leave_out(file, _NO_DICOM_SLIDE)
    if len(series) == 1 and not named:
        return [FoundSlide(here)]
    return named + [FoundSlide(min(members)) for members in series.values()]


def _slides_of_store(store: Path, findings: Findings) -> list[FoundSlide]:
    """List the images of a Zarr store; a store without any stands for itself, and fails by name."""
    found = list(_images_below(store, findings))
    if found in ([store], []):
        return [FoundSlide(store)]
    name = store.name.removesuffix(_ZARR_SUFFIX).removesuffix(".ome")
    if len(found) == 1:
        return [FoundSlide(found[0], name)]
    return [FoundSlide(path, f"{name}__{path.name}") for path in found]


def _images_below(node: Path, findings: Findings) -> Iterator[Path]:
    try:
        if image_folders(node):
            if is_label(node) or "thumbnail" in node.name.lower():
                findings.leave_out(node, _LABELS)
            else:
                yield node
            return
        below = [] if is_zarr_array(node) else sorted(node.iterdir())
    except (SlideError, OSError):
        yield node
        return
    for inner in below:
        if is_folder(inner) and not inner.is_symlink():  # stores with links are refused
            yield from _images_below(inner, findings)
