"""Slides that need not be encoded: their slots are what this model makes of this very content."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tcssa.errors import FileError
from tcssa.features import BagRef, open_bag
from tcssa.files.forwarding import look_again
from tcssa_runtimes.archive.how_to_encode import HowToEncode
from tcssa_runtimes.archive.slot_files import FOLDER, read_facts, slide_features_path
from tcssa_runtimes.archive.slot_parts import find_parts, read_part_facts
from tcssa_runtimes.archive.stored_slots import EncodedFacts
from tcssa_runtimes.contract.base import Runtime


def is_done(bag: BagRef, facts: EncodedFacts, how: HowToEncode, runtime: Runtime) -> bool:
    """Tell whether a slide need not be encoded again.

    Args:
        bag: The slide.
        facts: Facts of the slots that are there.
        how: What is to be made of a slide.
        runtime: The model.
    """
    if facts.budget != runtime.budget_text or (how.assignments and not facts.has_assignments):
        return False
    try:
        return _is_of(facts, bag, runtime)
    except (OSError, FileError):  # reading it again will report what is wrong
        return False


def facts_in_file(bag: BagRef, how: HowToEncode) -> EncodedFacts | None:
    """Return the facts in a slide's own file; None if it has none, or it is broken.

    Args:
        bag: The slide.
        how: What is made of slides, and where.
    """
    path = slide_features_path(how.out, bag.slide_id)
    return read_facts(path) if how.to == "hdf5" and path.exists() else None


class DoneSince:
    """Finds slides that other processes have done since the list of slides was made.

    Args:
        how: How the slides are encoded.
        runtime: The model.
    """

    def __init__(self, how: HowToEncode, runtime: Runtime) -> None:
        self._how, self._runtime = how, runtime
        self._seen = set(how.known_parts)
        self._parts: dict[str, Path] = {}
        """Parts that are new, by the slides in them."""

    def among(self, bags: Iterable[BagRef]) -> dict[BagRef, EncodedFacts]:
        """Return those that are done by now."""
        if self._how.overwrite:  # whoever did it may have done it long ago
            return {}
        bags = list(bags)
        if self._how.to == "parquet":
            look_again(self._how.out / FOLDER)
            self._look_for_parts()
        else:
            look_again(self._how.out / FOLDER, [f"{bag.slide_id}.h5" for bag in bags])
        there = ((bag, self._facts_of(bag)) for bag in bags)
        return {
            bag: facts
            for bag, facts in there
            if facts is not None and is_done(bag, facts, self._how, self._runtime)
        }

    def _facts_of(self, bag: BagRef) -> EncodedFacts | None:
        part = self._parts.get(bag.slide_id)
        if part is None:
            return facts_in_file(bag, self._how)
        with suppress(FileError, FileNotFoundError):  # another call may have removed the part
            return _facts_in(part).get(bag.slide_id)
        return None

    def _look_for_parts(self) -> None:
        for part in find_parts(self._how.out):
            if part.name not in self._seen:
                self._seen.add(part.name)
                with suppress(FileError, FileNotFoundError):  # its slides are encoded again
                    self._parts |= dict.fromkeys(_facts_in(part), part)


def _facts_in(part: Path) -> dict[str, EncodedFacts]:
    stat = part.stat()
    return _facts_in_version(part, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)  # slides of one part come one after another
def _facts_in_version(part: Path, *_: int) -> dict[str, EncodedFacts]:
    return {facts.name: facts for facts in read_part_facts(part)}


def _is_of(facts: EncodedFacts, bag: BagRef, runtime: Runtime) -> bool:
    """Tell whether a slide's slots are what this model makes of a bag."""
    if not facts.origin.is_of(bag, runtime.facts.sha256):
        return False
    if not runtime.facts.spatial or facts.origin.is_untouched(bag):
        return True
    with open_bag(bag) as opened:  # the content's hash leaves the scale of its coordinates out
        return facts.um_per_coord == opened.um_per_coord
