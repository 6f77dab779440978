"""Slides whose decoder ends the process that it runs in, or never answers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openslide
import pytest
from slide_files import stained, write_slide, write_vmu

from tcssa.errors import SlideError
from tcssa.slides.image.slide import Slide
from tcssa.slides.readers import trial

STUB = """
import sys
sys.path.insert(0, {folder!r})
import openslide_worker

def stuck(*_):
    {stuck}

openslide_worker._try_slide = stuck
openslide_worker.main(*map(int, sys.argv[1:]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")


@pytest.fixture(autouse=True)
def fresh_worker() -> Iterator[None]:
    """A worker of each test's own, under the limits that the test sets."""

    def forget() -> None:
        trial._tried.cache_clear()
        if trial._worker is not None:
            trial._worker.close()
        trial._worker = None

    forget()
    yield
    forget()


def test_a_vmu_can_end_the_process_that_reads_it(tmp_path: Path) -> None:
    path = write_vmu(tmp_path, width=2**22)
    code = (
        "import resource, sys, openslide\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "openslide.OpenSlide(sys.argv[1]).read_region((0, 0), 0, (1, 1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == -6
    assert "failed to allocate" in done.stderr


def test_a_side_that_a_format_states_is_checked_before_a_tile_is_read(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="268,435,456 pixels along a tile's side"):
        Slide(write_vmu(tmp_path, width=2**28))


def test_a_decoder_that_aborts_takes_only_its_own_slide_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_MAX_TILE_SIDE", str(2**22))
    monkeypatch.setattr(trial, "_BYTES_A_PIXEL", 0)
    monkeypatch.setattr(trial, "_LEAST_MEMORY", 2**30)
    for folder, width in [("sound", 1024), ("bad", 2**22), ("other", 1024)]:
        (tmp_path / folder).mkdir()
        path = write_vmu(tmp_path / folder, width=width)
        if folder == "bad":
            with pytest.raises(SlideError, match=r"its decoder ended the process.*exit -6"):
                Slide(path)
        else:
            Slide(path).close()


def test_a_slide_is_tried_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_vmu(tmp_path, width=1024)
    Slide(path).close()
    monkeypatch.setattr(trial._Worker, "ask", lambda *_: pytest.fail("asked again"))
    Slide(path).close()
    path.write_text(path.read_text() + "\n")
    with pytest.raises(pytest.fail.Exception):
        Slide(path)


def test_a_plain_tiff_is_not_tried(tmp_path: Path) -> None:
    Slide(write_slide(tmp_path / "a.tif", stained(300, 300))).close()
    assert trial._worker is None


@pytest.mark.parametrize(
    ("stuck", "limit", "reason"),
    [
        ("while True: pass", "_CPU_S", "computes for more than 1 s"),
        ("import time; time.sleep(60)", "_WAIT_S", "gives no answer for 1 s"),
    ],
)
def test_a_decoder_that_never_ends_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str, limit: str, reason: str
) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB.format(folder=str(trial._WORKER.parent), stuck=stuck))
    monkeypatch.setattr(trial, "_WORKER", stub)
    monkeypatch.setattr(trial, limit, 1)
    begin = time.monotonic()
    with pytest.raises(SlideError, match=reason):
        Slide(write_vmu(tmp_path, width=1024))
    assert time.monotonic() - begin < 20


def test_a_worker_ends_with_its_owner() -> None:
    code = "from tcssa.slides.readers import trial; w = trial._Worker(); print(w._process.pid)"
    pid = int(subprocess.check_output([sys.executable, "-c", code], text=True))
    for _ in range(100):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or ") Z " in status.read_text():
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


def test_openslide_says_the_sides_of_tiles(tmp_path: Path) -> None:
    with openslide.OpenSlide(str(write_vmu(tmp_path, width=2048))) as slide:
        assert trial.openslide_worker.tile_sides(slide) == [2048, 64, 1024, 64]
