"""Files of weights: finding them, reading them, and loading them into a network.

Libraries save the same network under different names: wrapped in a dictionary, with a prefix
(``module.`` from data parallelism, ``visual.`` from a pair of towers), with the head that was
trained with it. A file is accepted if, under one prefix, it holds every tensor of the network in
its shape, and no others than those that the catalogue allows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.errors import CheckpointError, MissingDataError, one_line
from tcssa.files.cache_folder import one_process
from tcssa.files.checksums import file_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]

_log = logging.getLogger(__name__)
_WRAPPERS = ("state_dict", "model", "teacher")
_PREFIXES = ("", "model.", "backbone.", "visual.", "vit.", "dinov2.")


@dataclass(frozen=True)
class HubFiles:
    """The published weights of an encoder on the Hugging Face hub."""

    repo: str
    """Repository on the Hugging Face hub, as ``MahmoodLab/UNI2-h``."""
    files: tuple[str, ...]
    """Files that each hold all the weights; the first that is found is used."""
    licence: str
    gated: bool
    """Whether access must be requested."""
    is_dataset: bool = False
    with_config: bool = False
    """Whether a ``config.json`` beside the weights describes the architecture."""

    @property
    def repo_type(self) -> str:
        """The repository's type, as the hub's library calls it."""
        return "dataset" if self.is_dataset else "model"

    @property
    def page(self) -> str:
        """The page of the repository, in words."""
        kind = "data set" if self.is_dataset else "model"
        return f"the page of the {kind} {self.repo} on the Hugging Face hub"


def cached(source: HubFiles) -> Path | None:
    """Look for the weights in this machine's cache of the hub; None if they are not there."""
    from huggingface_hub import try_to_load_from_cache

    for file in source.files:
        found = try_to_load_from_cache(source.repo, file, repo_type=source.repo_type)
        if isinstance(found, str):
            return Path(found)
    return None


def find(name: str, source: HubFiles, given: Path | None = None) -> Path:
    """Find the weights of an encoder: the file given, the hub's cache, or the hub itself.

    Args:
        name: The encoder's name, for errors.
        source: The published weights.
        given: The user's own file, or a folder that holds a file of a published name.

    Raises:
        MissingDataError: The weights cannot be found; the error says where to get them.
    """
    if given is None:
        found = cached(source)
        if found is None:
            with one_process(source.repo, f"fetches {source.repo}", _log.warning):
                found = cached(source) or _download(name, source)
        return found
    for path in (given, *(given / file for file in source.files)):
        if path.is_file():
            return path
    raise MissingDataError(
        f"the weights of {name} are not at {given}",
        hint=f"give the file {_either(source.files)} of {source.repo}, or leave --weights out",
    )


def _download(name: str, source: HubFiles) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    reason = "none of the files is in the repository"
    for file in source.files:
        try:
            path = Path(hf_hub_download(source.repo, file, repo_type=source.repo_type))
            if source.with_config:
                with suppress(EntryNotFoundError):  # the catalogue knows the architecture too
                    hf_hub_download(source.repo, "config.json", repo_type=source.repo_type)
        except LocalEntryNotFoundError:
            reason = "the hub cannot be reached from here, and its cache does not hold them"
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:  # no access, no such repository, no network
            reason = one_line(error)
        else:
            return path
        break
    raise _missing(name, source, reason)


def _missing(name: str, source: HubFiles, reason: str) -> MissingDataError:
    where = "gated: access must be asked for" if source.gated else "free to download"
    reason = re.sub(r"https?://\S+", source.repo, reason)
    ask = f"ask for access on {source.page}, then " if source.gated else ""
    return MissingDataError(
        f"the weights of {name} are not here; {source.repo} ({where}) could not be read: {reason}",
        hint=f"{ask}log in with `hf auth login` or set HF_TOKEN; or fetch "
        f"{_either(source.files)} from {source.page} elsewhere and give it as --weights FILE",
    )


def _either(files: Sequence[str]) -> str:
    return " or ".join(files)


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights on this machine."""

    path: Path

    def content_hash(self) -> str:
        """Return the SHA-256 of the file, followed by that of a configuration beside it."""
        config = self.config_path
        return file_sha256(self.path) + (file_sha256(config) if config else "")

    @property
    def config_path(self) -> Path | None:
        """The ``config.json`` beside the file; None if there is none."""
        beside = self.path.with_name("config.json")
        return beside if beside.is_file() else None

    def read(self) -> State:
        """Read the tensors by name, out of any dictionary that wraps them.

        Raises:
            CheckpointError: The file cannot be read, or holds something else.
        """
        content = self._content()
        for wrapper in _WRAPPERS:
            inner = content.get(wrapper) if isinstance(content, Mapping) else None
            if isinstance(inner, Mapping):
                content = inner
                break
        import torch

        if not isinstance(content, Mapping) or not content:
            raise CheckpointError(self.path, "it holds no dictionary of tensors")
        state = {
            name: value
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, torch.Tensor)
        }
        if not state:
            raise CheckpointError(self.path, "it holds no tensors", hint="give a state dict")
        return state

    def _content(self) -> Any:
        if self.path.suffix == ".safetensors":
            from tcssa.files.tensors import read_safetensors

            return read_safetensors(self.path, CheckpointError)[0]
        from tcssa.files.torch_file import read_torch_file

        return read_torch_file(self.path, CheckpointError)


def under_one_prefix(state: State, wanted: Sequence[str]) -> State:
    """Remove the prefix under which most of the wanted names are found.

    Args:
        state: The tensors of a file.
        wanted: Names of the network's tensors.

    Returns:
        The tensors, without ``module.`` and the prefix; names without the prefix stay.
    """
    state = {name.removeprefix("module."): value for name, value in state.items()}
    names = set(wanted)

    def hits(prefix: str) -> int:
        return sum(name.startswith(prefix) and name[len(prefix) :] in names for name in state)

    best = max(_PREFIXES, key=hits)
    return {name.removeprefix(best): value for name, value in state.items()}


def load_into(network: nn.Module, state: State, path: Path, *, ignored: str = r"$^") -> None:
    """Load a state dict into a network, all of it or not at all.

    Args:
        network: The network to load into.
        state: The tensors of the file.
        path: The file, for errors.
        ignored: Regular expression for names that the network does not need.

    Raises:
        CheckpointError: A tensor is missing, unexpected, or has another shape.
    """
    expected = network.state_dict()
    state = under_one_prefix(state, list(expected))
    unneeded = re.compile(ignored)
    kept = {
        name: value for name, value in state.items() if name in expected or not unneeded.match(name)
    }
    check_names(expected, kept, path)
    network.load_state_dict(kept)


def check_names(expected: State, found: State, path: Path) -> None:
    """Check that a file has the tensors of a network.

    Args:
        expected: The network's tensors by name.
        found: The file's tensors by name.
        path: The file, for errors.

    Raises:
        CheckpointError: Names or shapes differ; the error names the first of each kind.
    """
    shapes = [
        f"{name} {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    faults = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for kind, names in (
            ("tensors are missing", sorted(set(expected) - set(found))),
            ("are unexpected", sorted(set(found) - set(expected))),
            ("have another shape", shapes),
        )
        if names
    ]
    if faults:
        raise CheckpointError(
            path,
            f"these are the weights of another network: {'; '.join(faults)}",
            hint="give the file that belongs to this encoder; tcssa encoders names each one's",
        )


def require_file(name: str, path: Path) -> Path:
    """Check that the user's own file of weights exists.

    Args:
        name: The encoder's name, for errors.
        path: The file.

    Returns:
        The file's path.

    Raises:
        MissingDataError: There is no file at ``path``.
    """
    if not path.is_file():
        raise MissingDataError(
            f"the weights of {name} are not at {path}", hint="give a file: --weights FILE"
        )
    return path
