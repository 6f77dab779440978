"""Files are whole or not there, also after a kill."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tcssa.files import atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "deep" / "f.txt", "héllo")
    assert (tmp_path / "deep" / "f.txt").read_text(encoding="utf-8") == "héllo"
    assert names(tmp_path / "deep") == ["f.txt"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "f.txt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic.replacing(target) as temporary:
        temporary.write_text("half of the new \udcff", encoding="utf-8")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["f.txt"]


def test_kill_9_leaves_no_target_and_its_leftover_is_discarded(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from tcssa.files import atomic\n"
        "with atomic.replacing(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "f.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "f.txt").exists()
    with atomic.replacing(tmp_path / "mine.txt") as alive:
        alive.write_text("still being written")
        assert atomic.discard_leftovers(tmp_path) == 1
    assert names(tmp_path) == ["mine.txt"]
