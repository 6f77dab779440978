"""Copies of models on the hub, in the hub's own cache, held against their checksums."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcssa.errors import HubError, TcssaError, UsageError, one_line
from tcssa.files.cache_folder import one_process
from tcssa.hub.address import HubAddress, is_hub_address
from tcssa.hub.contents import CARD_FILE, SUFFIXES, require_taken, verify
from tcssa.reporter import Printed, Reporter

_LOG_IN = "check the name; of a private one log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class HubCopy:
    """A model that was copied from the hub to its cache on this machine."""

    address: HubAddress
    folder: Path
    commit: str
    files: list[str]
    """Paths in the folder, all of them held against their checksums."""


def local_model(path: Path | str, reporter: Reporter | None = None) -> Path:
    """Return where a model is on this machine: a path as it is, one of the hub after copying it.

    Args:
        path: A path, or ``hf:owner/name`` with or without ``@revision``.
        reporter: Told which commit was taken; None prints it.

    Raises:
        UsageError: The address is none.
        HubError: The model is not there, cannot be fetched, or is not the one that was pushed.
    """
    if not is_hub_address(path):
        return Path(path)
    return fetch(HubAddress.parse(path), reporter or Printed()).folder


def require_out(out: Path | str | None, run: Path | str) -> None:
    """Require a folder to write to where the run, which has the default one, is on the hub.

    Args:
        out: The folder that the user gave.
        run: The run, or its address on the hub.

    Raises:
        UsageError: None was given, and the run lies in the hub's cache.
    """
    if out is None and is_hub_address(run):
        raise UsageError(
            f"{run} is on the hub, where nothing is written", hint="give a folder: --out DIR"
        )


def fetch(address: HubAddress, reporter: Reporter) -> HubCopy:
    """Copy a model to the hub's cache, unless it is there, and verify it.

    Where the hub cannot be reached, or ``HF_HUB_OFFLINE`` is set, the copy in the cache is taken.

    Args:
        address: The model.
        reporter: Told which commit was taken, and warned where the hub was not asked for it.

    Raises:
        HubError: The model is not there, cannot be fetched, or is not the one that was pushed.
    """
    unreached = _require_taken(address)
    with one_process(address.repo, f"fetches {address}", reporter.note):
        folder = _snapshot(address, unreached)
    copy = HubCopy(address, folder, folder.name, verify(folder, address))
    if unreached:
        reporter.warn(f"{address}: {unreached}; commit {copy.commit} is taken from its cache")
    else:
        reporter.note(f"{address}: commit {copy.commit}")
    return copy


def _require_taken(address: HubAddress) -> str | None:
    """Require, before anything is copied, that all files are of a kind that is taken.

    Returns:
        Why the hub could not be asked; None if it was.
    """
    from huggingface_hub import HfApi

    with told(address):
        try:
            info = HfApi().model_info(address.repo, revision=address.revision)
        except Exception as error:  # of the HTTP library, which is not the same in all versions
            if getattr(error, "response", None) is not None:
                raise
            return _why(error)
    require_taken([file.rfilename for file in info.siblings or []], address)
    return None


def _snapshot(address: HubAddress, unreached: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = [*(f"*{suffix}" for suffix in SUFFIXES), CARD_FILE]
    with told(address), quiet():
        try:
            found = snapshot_download(
                address.repo,
                revision=address.revision,
                allow_patterns=patterns,
                local_files_only=unreached is not None,
            )
        except LocalEntryNotFoundError as error:
            raise HubError(
                address,
                f"{unreached or _why(error)}, and its cache does not hold the model",
                hint=f"fetch it where there is a network: tcssa pull {address} --out DIR",
            ) from None
    return Path(found)


def _why(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    return f"the hub cannot be reached ({_without_urls(error)})"


def _without_urls(error: BaseException) -> str:
    return one_line(re.sub(r"https?://\S+", "the hub", str(error)), 150) or type(error).__name__


@contextmanager
def told(address: HubAddress) -> Iterator[None]:
    """Turn what the hub answers into one line.

    Args:
        address: The model that it is asked for in the block.

    Raises:
        HubError: There is no such model or revision, the hub refuses, or it cannot be reached.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError:
        reason, hint = "access must be asked for", "ask for it on the model's page, and log in"
    except RevisionNotFoundError:
        reason = f"there is no revision {address.revision!r}"
        hint = "leave the @… out, or name a branch, a tag or a commit"
    except RepositoryNotFoundError:
        reason, hint = "there is no such model, or it is private", _LOG_IN
    except HfHubHTTPError as error:
        said = one_line(error.server_message) if error.server_message else _without_urls(error)
        reason, hint = f"the hub refuses ({said})", _LOG_IN
    except (TcssaError, MemoryError):
        raise
    except Exception as error:  # of the HTTP library, and of the disk under the cache
        reason = f"the exchange with the hub failed ({_without_urls(error.__cause__ or error)})"
        hint = "give the same command again"
    else:
        return
    raise HubError(address, reason, hint=hint)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's bars and remarks off the terminal, as all talk goes through us."""
    from huggingface_hub import utils

    bars: Any = utils  # whose switches are not among the names that it types
    logger = logging.getLogger("huggingface_hub")
    was_hidden, level = bars.are_progress_bars_disabled(), logger.level
    bars.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if not was_hidden:
            bars.enable_progress_bars()
