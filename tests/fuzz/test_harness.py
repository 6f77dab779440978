"""The fuzz harness: what readers do wrong is found, by inputs that can be made again."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz import worker
from fuzz.minimise import minimised
from fuzz.mutations.hdf5 import layout_of
from fuzz.mutations.octets import mutate_octets
from fuzz.seeds.features import hdf5_files
from fuzz.supervisor import Result, run_targets
from fuzz.target import Target
from fuzz.targets import TARGETS
from tcssa.errors import FeatureFileError

SEED = bytes(range(64))
NUM_INPUTS = 12
LITTLE = 2**26
"""The memory that a reader may take here; filling that of real runs would take the test's time."""


def mark_or_octets(rng: Random, seed: bytes) -> bytes:
    """Every fifth input or so has a mark that the readers below stumble over."""
    return seed + b"MARK" if rng.random() < 0.2 else mutate_octets(rng, seed)


def stumbles(over_the_mark: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        content = path.read_bytes()
        if b"MARK" in content:
            return over_the_mark(path)
        if content != SEED:
            raise FeatureFileError(path, "is damaged")
        return "sound"

    return read


def run(read: Callable[[Path], Any], **how: Any) -> Result:
    target = Target("x", ".x", lambda: [SEED], read, (FeatureFileError,), mark_or_octets, **how)
    done: list[Result] = []
    run_targets([target], num_inputs=NUM_INPUTS, seed=1, jobs=1, minimise_s=60, done=done.append)
    return done[0]


def segfault(_: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(_: Path) -> None:
    raise KeyError("x")


def be_hoggish(_: Path) -> int:
    return len(bytearray(7 * 2**30))


def swell(path: Path) -> None:
    taken = b"x" * (3 * LITTLE // 2)
    raise FeatureFileError(path, f"is damaged behind {len(taken)} bytes")


def chatter(path: Path) -> None:
    raise FeatureFileError(path.parent / "other", "is damaged")


def refuse(path: Path) -> None:
    raise FeatureFileError(path, "has a mark")


@pytest.mark.parametrize(
    ("does", "key"),
    [
        (segfault, "SIGSEGV"),
        (fail, "KeyError"),
        (be_hoggish, "MemoryError"),
        (swell, "MemoryError of FeatureFileError"),
        (chatter, "unnamed FeatureFileError"),
        (lambda _: "other data", "other data"),
    ],
)
def test_each_way_to_go_wrong_is_found_and_made_small(
    does: Callable[[Path], Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_BYTES", LITTLE)
    result = run(stumbles(does), oracle=lambda _, data: None if data == "sound" else "differs")
    (finding,) = result.findings.values()
    assert finding.key.startswith(key)
    assert finding.content == b"MARK"
    assert result.num_inputs == NUM_INPUTS
    assert 0 < result.kinds["fault"] < NUM_INPUTS


def test_a_sound_reader_has_no_findings() -> None:
    result = run(stumbles(refuse))
    assert not result.findings
    assert result.kinds["refused"] == NUM_INPUTS


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_inputs_follow_from_seed_and_number_and_differ_from_the_valid_file(target: Target) -> None:
    first = [target.input_of(1, number) for number in range(20)]
    assert first == [target.input_of(1, number) for number in range(20)]
    assert first != [target.input_of(2, number) for number in range(20)]
    assert len(set(first) - set(target.seeds)) > 10


def test_repairs_leave_a_valid_hdf5_file_as_it_is() -> None:
    for content in hdf5_files():
        data = bytearray(content)
        for repair in layout_of(content).repairs:
            repair(data)
        assert bytes(data) == content


def test_what_is_left_of_a_minimised_input_is_what_shows_the_fault() -> None:
    content = bytes(500) + b"ab" + bytes(300) + b"c"
    smaller = minimised(content, lambda part: b"a" in part and b"c" in part, budget_s=5)
    assert smaller == b"ac"
