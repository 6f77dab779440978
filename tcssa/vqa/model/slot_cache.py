"""Visual tokens of every slide, computed once and kept on disk.

Slides are asked about many times, and a frozen compressor gives the same slots each time: 32 × 1024
numbers instead of the 20 MB of features they come from. ::

    FOLDER/<hash of the visual encoder>/<slide_id>.safetensors      tokens [V, D]
    FOLDER/<hash of the visual encoder>/merged-<hash>.safetensors   tokens of several slides as one

The hash runs over the encoder's kind, configuration and weights, so another compressor has another
folder. Each file notes the SHA-256 of the features it was made from, with their size and time: a
file of features that looks untouched is not read again, one that was touched is hashed, and one
that changed is compressed anew. Merged slides have a file of their own, named by a hash of their
names, whichever slides of them have one too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tcssa.compressor.aggregation import Aggregate, joined
from tcssa.compressor.checkpoint import read_tensors, write_tensors
from tcssa.config.settings import RESOLVED_FILE, section_of
from tcssa.errors import (
    CheckpointError,
    FeatureDimError,
    FeatureFileError,
    NonFiniteFeatureError,
    RunError,
)
from tcssa.features import open_bag, read_features
from tcssa.features.feature_set_path import BagRef
from tcssa.files import atomic
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.files.yaml_file import read_yaml_mapping
from tcssa.reporter import Reporter
from tcssa.vqa.model.merging import require_merging
from tcssa.vqa.model.visual_encoder import VisualEncoder

SLOTS_FOLDER = "slots"
_TOKENS = "tokens"
Merged = tuple[Path, ...]
"""Feature files of slides that are seen as one, in the order of their names."""


class Fault(NamedTuple):
    """A fault of a file of features."""

    kind: str
    """A few words that are the same for all faults of this kind."""
    detail: str


def fault_of(error: FeatureFileError | NonFiniteFeatureError) -> Fault:
    """Describe an error as the fault of its file."""
    is_damaged = isinstance(error, FeatureFileError)
    return Fault("damaged features" if is_damaged else "features not finite", str(error))


@contextmanager
def collecting(path: Path, faulty: dict[Path, Fault] | None) -> Iterator[None]:
    """Note that a file's features are damaged or not finite, instead of ending with the error.

    Args:
        path: The file.
        faulty: Receives its fault; None lets the error pass, as it is for features of another D.
    """
    try:
        yield
    except (FeatureFileError, NonFiniteFeatureError) as error:
        if faulty is None or isinstance(error, FeatureDimError):
            raise
        faulty[path] = fault_of(error)


class SlotCache:
    """The tokens that one frozen visual encoder makes of slides.

    Args:
        folder: Where the cache lies; several encoders may share it.
        encoder: Makes the tokens that are not there yet.
    """

    def __init__(self, folder: Path, encoder: VisualEncoder) -> None:
        self.encoder = encoder
        self.folder = folder / encoder_hash(encoder)[:32]

    def fill(
        self,
        paths: Sequence[Path | Merged],
        reporter: Reporter,
        *,
        rank: int = 0,
        num_ranks: int = 1,
        faulty: dict[Path, Fault] | None = None,
    ) -> int:
        """Make the tokens of all slides that lack them.

        Args:
            paths: Feature files, one a slide, or of several slides that are seen as one.
            reporter: Shows progress.
            rank: Index of this process, from 0; it makes every ``num_ranks``-th slide.
            num_ranks: Number of processes that fill the cache together.
            faulty: Receives the files whose features cannot be used; None makes them an error.

        Returns:
            The number of slides that were compressed, or of several as one.

        Raises:
            FeatureFileError: A feature file cannot be read, and ``faulty`` is None.
            FeatureDimError: Its features are not of the encoder's length.
            NonFiniteFeatureError: A feature is NaN or infinite, and ``faulty`` is None.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.discard_leftovers(self.folder)
        missing = [path for path in paths[rank::num_ranks] if not self._holds(path)]
        if not missing:
            return 0
        num_made = 0
        with reporter.task("slot cache", len(missing), "slides") as task:
            for path in missing:
                num_made += self._make(path, faulty)
                task.advance()
        return num_made

    def tokens(self, path: Path | Merged) -> Tensor:
        """Return the tokens [V, D] of the slide whose features lie at ``path``; `fill` made them.

        Raises:
            CheckpointError: The tokens are missing, or their file is broken.
        """
        return self._read(self._file(path))[0]

    def _read(self, file: Path) -> tuple[Tensor, dict[str, Any]]:
        """Read the tokens of a file, and what they were made from.

        Raises:
            CheckpointError: The file does not hold tokens of this encoder's shape.
        """
        tensors, facts = read_tensors(file)
        tokens = tensors.get(_TOKENS)
        if tokens is None or tokens.dtype != torch.float32 or tokens.dim() != 2:
            raise CheckpointError(file, f"holds no {_TOKENS} [V, D] in float32")
        if tokens.shape[1] != self.encoder.feature_dim:
            raise CheckpointError(
                file, f"its tokens have D = {tokens.shape[1]}, not {self.encoder.feature_dim}"
            )
        return tokens, facts

    def _file(self, path: Path | Merged) -> Path:
        files = _files(path)
        if len(files) == 1:
            return self.folder / f"{files[0].stem}.safetensors"
        names = params_hash({"merged": [each.stem for each in files]})
        return self.folder / f"merged-{names[:32]}.safetensors"

    def find(self, path: Path | Merged) -> Tensor | None:
        """Return the tokens [V, D] of a slide; None unless made from the features there now."""
        found = self._find(path)
        return None if found is None else found[0]

    def _find(self, path: Path | Merged) -> tuple[Tensor, dict[str, Any]] | None:
        """Find a slide's tokens, and what they were made from."""
        file = self._file(path)
        if not file.exists():
            return None
        try:
            tokens, facts = self._read(file)
        except CheckpointError:
            return None  # a broken file is made again
        is_same = facts.get("stamp") == _stamp(path) or facts.get("sha256") == _sha256(path)
        return (tokens, facts) if is_same else None

    def _holds(self, path: Path | Merged) -> bool:
        """Tell whether the tokens are there, made from the features that are there now."""
        found = self._find(path)
        if found is not None and found[1].get("stamp") != _stamp(path):
            self._write(path, found[0], found[1]["sha256"])  # only touched: note the new time
        return found is not None

    @torch.no_grad()
    def _make(self, path: Path | Merged, faulty: dict[Path, Fault] | None) -> bool:
        """Make the tokens; False where features cannot be used."""
        files = _files(path)
        made: list[Tensor | Aggregate] = []
        hashes = []
        for file in files:
            with collecting(file, faulty):
                hashes.append(file_sha256(file))
                made.append(self._tokens(file) if len(files) == 1 else self._sums(file))
        if len(made) < len(files):
            return False
        tokens = made[0]
        if not isinstance(tokens, Tensor):
            sums = joined([each for each in made if isinstance(each, Aggregate)])
            tokens = require_merging(self.encoder).refined(sums)
        self._write(path, tokens.float().cpu(), hashes[0] if len(files) == 1 else hashes)
        return True

    def _tokens(self, file: Path) -> Tensor:
        """Make the tokens of one slide."""
        features, coords = self._features(file), patch_places(file, self.encoder)
        tokens: Tensor = self.encoder(features, file.stem, coords)[0]
        return tokens

    def _sums(self, file: Path) -> Aggregate:
        """Make the sums of one slide among several that are seen as one."""
        return require_merging(self.encoder).sum_up(self._features(file), None)

    def _features(self, file: Path) -> Tensor:
        device = next(iter(self.encoder.state_dict().values()), torch.empty(0)).device
        return feature_tensor(file, self.encoder.patch_dim).to(device)

    def _write(self, path: Path | Merged, tokens: Tensor, sha256: str | list[str]) -> None:
        names = [file.name for file in _files(path)]
        features = names[0] if len(names) == 1 else names
        facts = {"features": features, "sha256": sha256, "stamp": _stamp(path)}
        write_tensors(self._file(path), {_TOKENS: tokens}, facts)


def cache_of_run(run: Path, encoder: VisualEncoder) -> SlotCache | None:
    """Return the slot cache that the training of a run wrote for an encoder; None without one.

    Args:
        run: The run directory; it need not be one any more, as a merged model's.
        encoder: The visual encoder of the run.
    """
    with suppress(RunError):  # the cache saves work, and nothing else
        visual = section_of(read_yaml_mapping(run / RESOLVED_FILE, RunError), "visual")
        place = visual.get("slot_cache")
        cache = SlotCache(Path(place) if isinstance(place, str) else run / SLOTS_FOLDER, encoder)
        return cache if cache.folder.is_dir() else None
    return None


def feature_tensor(path: Path, feature_dim: int) -> Tensor:
    """Read the patch features [N, D] of one slide, float32; see `tcssa.features.read_features`.

    Args:
        path: The feature file.
        feature_dim: The D that the features must have.
    """
    return torch.from_numpy(read_features(path, feature_dim)).float()


def patch_places(path: Path, encoder: VisualEncoder) -> Tensor | None:
    """Read where the patches of a slide lie, if the encoder reads that.

    Args:
        path: The feature file.
        encoder: The visual encoder that the places are for.

    Returns:
        The patches' (x, y) in µm, [N, 2], or in the file's unit where it names none and any will
        do; None for an encoder that reads no coordinates.

    Raises:
        FeatureFileError: The file does not state where its patches lie, or not in µm.
    """
    if not encoder.reads_coords:
        return None
    with open_bag(path) as bag:
        coords, size = bag.read_coords(), bag.um_per_coord
    if coords is None or (size is None and encoder.reads_um):
        what = "in µm (coords, mpp_level0)" if encoder.reads_um else "(coords)"
        raise FeatureFileError(
            path,
            f"does not say where its patches lie {what}, which the model reads",
            hint="extract it with tcssa extract, or tcssa convert it with --slide-mpp",
        )
    return torch.from_numpy(coords * (1 if size is None else size))


def encoder_hash(encoder: VisualEncoder) -> str:
    """Return the SHA-256 of all that a visual encoder's output depends on, but the features."""
    digest = hashlib.sha256(encoder.describe().encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _files(path: Path | Merged) -> Merged:
    return (path,) if isinstance(path, Path) else path


def _sha256(path: Path | Merged) -> str | list[str]:
    """Return the hash of a slide's features, or those of several slides."""
    hashes = [file_sha256(file) for file in _files(path)]
    return hashes[0] if len(hashes) == 1 else hashes


def _stamp(path: Path | Merged) -> list[Any]:
    """Return size and time of a slide's features, or those of several slides."""
    found = [BagRef.parse(file).file.stat() for file in _files(path)]
    stamps = [[each.st_size, each.st_mtime_ns] for each in found]
    return stamps[0] if len(stamps) == 1 else stamps
