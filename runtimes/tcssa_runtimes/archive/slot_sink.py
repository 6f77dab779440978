"""A sink that compresses slides as their patches are encoded: from pixels to slots in one pass.

`tcssa.slides.extract` takes it. The slots are those that `tcssa_runtimes.archive.encode` would make
of the slide's feature file, byte for byte on a CPU: from the features in the type in which they
would be stored, in the same chunks. The hash of the input is the same too, so that encoding the
features later on finds the slide done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.encoders.base import Encoder, EncoderSpec
from tcssa.errors import FeatureFileError, UsageError
from tcssa.features.content import ContentHash
from tcssa.features.writer import Attribute
from tcssa.files import atomic
from tcssa.files.boundary import reading
from tcssa.files.checksums import params_hash
from tcssa.files.forwarding import look_again
from tcssa.files.hdf5 import attributes, hdf5_file, numbers
from tcssa.files.listing import each_named
from tcssa.files.work_locks import in_turn
from tcssa.slides.extraction.plan import SlidePlan
from tcssa.slides.extraction.report import SlideResult
from tcssa.slides.extraction.resume import Params
from tcssa.slides.manifest import SlideFile
from tcssa_runtimes.archive.archive_index import each_indexed, write_index
from tcssa_runtimes.archive.launch_scheduler import SLIDES_AT_ONCE
from tcssa_runtimes.archive.reader_pool import EXTENT
from tcssa_runtimes.archive.slot_files import (
    FOLDER,
    require_facts,
    slide_features_path,
    write_slide_features,
)
from tcssa_runtimes.archive.stored_routing import PatchFrame
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Origin, Positions
from tcssa_runtimes.contract.base import Runtime
from tcssa_runtimes.contract.checks import require_own_slots
from tcssa_runtimes.contract.slide_accumulator import SlideAccumulator


class SlotFiles:
    """Sink of slides that writes their slots; see `tcssa.slides.extraction.sinks.SlideSink`.

    Args:
        out: Slots go to ``OUT/slide_features_tcssa/S.h5``, as those of
            `tcssa_runtimes.archive.encode`.
        runtime: The model; it is open.
        assignments: Keep which slots each patch went to.

    Raises:
        UsageError: The model is an ensemble.
    """

    def __init__(self, out: Path, runtime: Runtime, *, assignments: bool = False) -> None:
        require_own_slots(runtime.facts)
        self.out, self._runtime, self._assignments = out, runtime, assignments
        self.folder = out / FOLDER
        self._written: dict[Path, EncodedFacts] = {}
        atomic.discard_leftovers(self.folder)

    def finished(self, slide: SlideFile, params: Params) -> SlideResult | None:
        """Return the result that an earlier run left for a slide; None if it is still to be done.

        Args:
            slide: The slide.
            params: Parameters of its extraction.

        Raises:
            UsageError: Its slots are of another model or budget, or were made with other
                parameters.
        """
        path = slide_features_path(self.out, slide.slide_id)
        made = _read_attributes(path)
        if made is None:
            return None
        other = None
        if made.get("model_sha256") != self._runtime.facts.sha256:
            other = "of another model"
        elif made.get("params_hash") != params_hash(params):
            other = "of patches made with other parameters"
        elif made.get("budget") != self._runtime.budget_text:
            other = "of another budget"
        elif self._assignments and not require_facts(path).has_assignments:
            other = "without the assignments of patches"
        if other:
            hint = "give --overwrite to make them again, or another --out"
            raise UsageError(f"{path}: these slots are {other}", hint=hint)
        with reading(path, FeatureFileError):
            return SlideResult(
                slide.slide_id,
                slide.path,
                "skipped",
                num_patches=int(made["num_patches"]),
                num_failed=int(made["n_failed"]),
                mpp=float(made["mpp_level0"]),
                mpp_source=str(made.get("mpp_source")),
            )

    def check(self, spec: EncoderSpec, encoder: Encoder) -> None:
        """Check that the model was made for an encoder.

        Args:
            spec: The encoder as the registry knows it.
            encoder: The same, loaded.

        Raises:
            UsageError: D is not the model's, or the model was trained on another encoder.
        """
        facts = self._runtime.facts
        hint = "use --encoder with the encoder that the model was trained on"
        if facts.feature_dim != encoder.feature_dim:
            raise UsageError(
                f"{facts.path} takes D = {facts.feature_dim}, {spec.name} gives "
                f"D = {encoder.feature_dim}",
                hint=hint,
            )
        if facts.encoder is not None and facts.encoder != spec.name:
            raise UsageError(
                f"{facts.path} was trained on {facts.encoder!r}, not on {spec.name!r}", hint=hint
            )

    def begin(self, plan: SlidePlan, encoder: Encoder) -> SlotFile:
        """Begin the sums of a slide.

        Args:
            plan: The slide and its patches.
            encoder: The encoder of the features that are to come.
        """
        keep = self._assignments
        return SlotFile(self.out, self._runtime, plan, encoder, self._written, assignments=keep)

    def facts_of(self, slide_id: str) -> EncodedFacts:
        """Return the facts of a slide's file, which this call or an earlier one wrote.

        Raises:
            FeatureFileError: The file is broken.
        """
        path = slide_features_path(self.out, slide_id)
        return self._written.get(path) or require_facts(path)

    def write_index(self, say: Callable[[str], None]) -> Path:
        """Write the index of all slides with slots here, other processes' too; return its path.

        Args:
            say: Told which process is waited for, where another one writes it.
        """
        index = self.out / "index.csv"
        with in_turn(self.folder, "index", say):  # else one that looked earlier may write later
            look_again(self.folder)
            look_again(self.out, ["index.csv"])
            known = {facts.path: facts for facts in each_indexed(self.out)} | self._written
            paths = each_named(self.folder, "", ".h5")
            write_index(index, (known.get(path) or require_facts(path) for path in paths))
        return index


class SlotFile:
    """Sink of one slide's patches; see `tcssa.slides.extraction.sinks.PatchSink`."""

    def __init__(
        self,
        out: Path,
        runtime: Runtime,
        plan: SlidePlan,
        encoder: Encoder,
        written: dict[Path, EncodedFacts],
        *,
        assignments: bool,
    ) -> None:
        self._out, self._runtime, self._plan = out, runtime, plan
        self._assignments = assignments
        self._encoder, self._written = encoder, written
        self._content = ContentHash(encoder.feature_dim)
        self._coords: list[NDArray[np.int64]] = []
        self._failed: list[NDArray[np.int64]] = []
        # alone: what a GPU could take together would wait, and the encoder needs the memory
        self._slide = SlideAccumulator(
            runtime, has_coords=True, mpp=plan.resolution.mpp, alone=True
        )

    def append(self, features: NDArray[Any], coords: NDArray[np.int64]) -> None:
        """Add patches to the sums, a chunk at a time; a model of whole slides gets them at the end.

        Args:
            features: Features [b, D], in the type in which they would be stored.
            coords: Level-0 corners of the patches, [b, 2].

        Raises:
            NonFiniteFeatureError: A feature of these patches, or of earlier ones, is not finite.
            ShapeError: A feature is beyond the range of the model's type, or there are too many
                patches.
        """
        self._content.add(features)
        self._coords.append(coords)
        centres = coords.astype(np.float64) + self._plan.spec.patch_size_level0 / 2
        self._slide.add(features, centres)

    def fail(self, coords: NDArray[np.int64]) -> None:
        """Record the level-0 corners [b, 2] of patches that could not be read."""
        self._failed.append(coords)

    def finish(self) -> None:
        """Make the slots and write them; write nothing for a slide without patches.

        Raises:
            NonFiniteFeatureError: A feature of the last patches is NaN or infinite.
            ShapeError: Half precision overflowed.
            DiskFullError: There is no space left.
        """
        if self._slide.num_patches == 0:
            return
        slide = self._slide.finish(filled_to=SLIDES_AT_ONCE)
        coords = np.concatenate(self._coords)
        name, facts = self._plan.slide.slide_id, self._runtime.facts
        side, mpp = self._plan.spec.patch_size_level0, self._plan.resolution.mpp
        extent: dict[str, Attribute] = dict(zip(EXTENT, self._plan.dimensions, strict=True))
        path = slide_features_path(self._out, name)
        self._written[path] = write_slide_features(
            path,
            slide,
            origin=Origin(facts.sha256, f"{name}.h5", 0, 0, self._content.digest(coords)),
            positions=Positions("level0_px", "centre"),
            encoder=self._encoder.name,
            runtime=self._runtime.name,
            classes=facts.classes,
            projector_sha256=facts.projector_sha256,
            budget=self._runtime.budget,
            failed_coords=np.concatenate(self._failed) if self._failed else None,
            assignments=PatchFrame("level0_px", side, mpp) if self._assignments else None,
            more={
                "params_hash": params_hash(self._plan.params),
                "n_failed": sum(map(len, self._failed)),
                "mpp_level0": self._plan.resolution.mpp,
                "mpp_effective": self._plan.spec.mpp_effective,
                **(extent if self._assignments else {}),
            },
        )

    def discard(self) -> None:
        """Drop the patches that wait; nothing was written yet."""
        self._slide.discard()


def _read_attributes(path: Path) -> dict[str, Any] | None:
    """Read the attributes of a file of slots; None if it is missing, broken or not complete."""
    try:
        with hdf5_file(path, FeatureFileError) as file:
            said = attributes(numbers(file, "features", ndim=2))
    except FeatureFileError:
        return None
    return said if said.get("complete") else None
