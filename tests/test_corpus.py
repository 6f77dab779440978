"""Files that were trouble once end as ``tests/corpus/outcomes.json`` says."""

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from fuzz.corpus import FOLDER, Entry, entries, shown
from fuzz.worker import known_data

_BY_TARGET = [
    pytest.param(list(group), id=name)
    for name, group in groupby(entries(alone=False), key=lambda entry: entry.target.name)
]


@pytest.mark.parametrize("found", _BY_TARGET)
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_was_trouble_ends_as_it_should(found: list[Entry], tmp_path: Path) -> None:
    known = known_data(found[0].target, tmp_path)
    ended = {
        entry.name: shown(
            entry.target.judge(entry.target.place(tmp_path, entry.path.read_bytes()), known)
        )
        for entry in found
    }
    assert ended == {entry.name: entry.outcome for entry in found}


def test_files_that_once_ended_the_process_are_refused() -> None:
    """In children of one process, which they may end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fuzz.corpus", "--replay"],
        cwd=FOLDER.parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = {entry.name: entry.outcome for entry in entries(alone=True)}
    assert json.loads(done.stdout) == expected


def test_every_file_of_the_corpus_has_an_outcome_and_all_are_small() -> None:
    files = {path for path in FOLDER.glob("*/*") if path.is_file()}
    known = {entry.path for alone in (True, False) for entry in entries(alone=alone)}
    assert files == known
    assert sum(path.stat().st_size for path in files) < 2**20
