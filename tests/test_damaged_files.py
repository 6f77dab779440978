"""Every reader and the same dozen of damages: right data, or one line that names the file."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType

import pytest

from fuzz.folders import unpack
from fuzz.target import Target
from fuzz.targets import TARGETS
from fuzz.worker import known_data

LIMIT_S = 10
"""For one read: a reader that waits for a pipe fails, and does not block the suite."""

Damage = Callable[[Path, bytes], object]


def cut(share: float) -> Damage:
    return lambda path, content: path.write_bytes(content[: int(len(content) * share)])


def flip(*places: float) -> Damage:
    """Flips one bit at each place, given as a share of the file."""

    def damage(path: Path, content: bytes) -> None:
        damaged = bytearray(content)
        for place in places:
            if content:
                at = int(place * len(content))
                damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)

    return damage


def other(name: str) -> Damage:
    """The file of another format, under this one's name."""
    return lambda path, _: path.write_bytes(TARGETS[name].seeds[0])


def loop(path: Path, _: bytes) -> None:
    path.symlink_to(path.name)


def forbid(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0)


DAMAGES: dict[str, Damage] = {
    "missing": lambda path, _: None,
    "empty": cut(0),
    "of one byte": lambda path, content: path.write_bytes(content[:1]),
    "cut in its first tenth": cut(0.1),
    "cut in half": cut(0.5),
    "cut near its end": cut(0.95),
    "without its last byte": lambda path, content: path.write_bytes(content[:-1]),
    "with a flipped bit at its beginning": flip(0.02),
    "with a flipped bit in the middle": flip(0.5),
    "with flipped bits all over": flip(0.1, 0.3, 0.6, 0.8, 0.97),
    "longer than it was": lambda path, content: path.write_bytes(content + bytes(700)),
    "of zeros": lambda path, content: path.write_bytes(bytes(len(content))),
    "of words": lambda path, _: path.write_bytes(b"this is not the file you look for\n"),
    "a picture": other("picture"),
    "an HDF5 file": other("hdf5"),
    "a zip": other("pt"),
    "a folder": lambda path, _: path.mkdir(),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a link to itself": loop,
    "not ours to read": forbid,
}


class TooSlowError(BaseException):
    """No reader turns it into an error of its own."""


@contextmanager
def limited() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def remove(path: Path) -> None:
    if path.is_fifo():
        with suppress(OSError):  # nobody waits for it
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@cache
def known(target: Target, folder: Path) -> frozenset[str]:
    return known_data(target, folder)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undamaged")


def damaged(target: Target, seed: bytes, damage: Damage, folder: Path) -> Iterator[Path]:
    """The input with this damage; of a folder each of its files in turn, and the folder itself."""
    folder.mkdir()
    path = folder / f"input{target.suffix}"
    if target.is_folder:
        for name, content in unpack(seed).items():
            target.place(folder, seed)
            (path / name).unlink()
            damage(path / name, content)
            try:
                yield path
            finally:
                remove(path / name)
        shutil.rmtree(path)
    damage(path, seed)
    try:
        yield path
    finally:
        remove(path)


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_refused_in_one_line_or_read_right(
    target: Target, name: str, tmp_path: Path, elsewhere: Path
) -> None:
    if name == "not ours to read" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    undamaged = known(target, elsewhere)
    for number, seed in enumerate(target.seeds):
        for path in damaged(target, seed, DAMAGES[name], tmp_path / f"{number}"):
            with limited():
                outcome = target.judge(path, undamaged)
            assert outcome.kind != "fault", f"{path.relative_to(tmp_path)}: {outcome.detail}"
