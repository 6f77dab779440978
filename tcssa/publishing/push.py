"""Pushing a model to the hub, in one commit that holds it whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import UsageError
from tcssa.hub import HubAddress
from tcssa.hub.contents import CARD_FILE, CHECKSUMS_FILE, Checksums, require_taken
from tcssa.hub.fetch import quiet, told
from tcssa.publishing.card import LIBRARY, model_card
from tcssa.publishing.model_files import model_files
from tcssa.reporter import Reporter
from tcssa.version import __version__

_OF_THE_HUB = {".gitattributes", CARD_FILE}


@dataclass(frozen=True)
class Pushed:
    """A model on the hub, as it was pushed."""

    address: HubAddress
    """With the commit for its revision."""
    files: list[str]


def push(model: Path, repo: str, reporter: Reporter, *, public: bool = False) -> Pushed:
    """Push a run, an artefact or a compressor to a repository of its own, with its card.

    Files of an earlier push that the model no longer has are removed from the newest revision.

    Args:
        model: The run directory, artefact or checkpoint.
        repo: ``owner/name``; the repository is made if need be.
        reporter: Told what is pushed.
        public: Whether a repository that is made can be seen by everybody. One that exists stays
            as it is.

    Raises:
        UsageError: The model is of a kind that is not shared, or the repository holds other files.
        HubError: The hub refuses, or cannot be reached.
        FileError: The model is not finished, or a file of it is missing or damaged.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    address = HubAddress.of_repo(repo)
    given = model_files(model)
    require_taken(given.files, model)
    sums = Checksums(tcssa_version=__version__, files=given.checksums())
    card = model_card(given, str(address), address.repo.partition("/")[2])
    contents: dict[str, Path | bytes] = {
        **given.files,
        CHECKSUMS_FILE: (sums.model_dump_json(indent=2) + "\n").encode(),
        CARD_FILE: card.encode(),
    }
    api = HfApi(library_name=LIBRARY, library_version=__version__)
    with told(address), quiet(), reporter.task(f"pushing to {address}", None, "files"):
        api.create_repo(address.repo, private=not public, exist_ok=True)
        there = set(api.list_repo_files(address.repo))
        _require_own(there, address)
        removed = sorted(there - set(contents) - _OF_THE_HUB)
        commit = api.create_commit(
            address.repo,
            [
                *(CommitOperationAdd(name, content) for name, content in contents.items()),
                *(CommitOperationDelete(name) for name in removed),
            ],
            commit_message=f"A {given.kind} of tcssa {__version__}",
        )
    if removed:
        reporter.note(f"no longer part of the model, and removed: {', '.join(removed)}")
    return Pushed(HubAddress(address.repo, commit.oid), sorted(contents))


def _require_own(there: set[str], address: HubAddress) -> None:
    """Refuse a repository whose files tcssa did not push, since they would be removed."""
    if CHECKSUMS_FILE not in there and (others := sorted(there - _OF_THE_HUB)):
        raise UsageError(
            f"{address} holds {others[0]}, which tcssa did not push",
            hint="give a model a repository of its own",
        )
