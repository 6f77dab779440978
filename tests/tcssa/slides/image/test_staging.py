"""Staging: slides are copied ahead within a bound, removed once read, and never lost to a copy."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from slide_files import stained, write_slide

from tcssa.errors import UsageError
from tcssa.features import open_bag
from tcssa.slides import ExtractSettings, extract
from tcssa.slides.image.staging import Stage
from tcssa.slides.settings import place_and_size


def put(path: Path, num_bytes: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(num_bytes))
    return path


def copies(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*-*/*-*/*") if file.is_file())


def test_a_copy_is_there_while_it_is_read_and_no_longer(tmp_path: Path) -> None:
    slide, warnings = put(tmp_path / "a.svs"), list[str]()
    with Stage(tmp_path / "stage", 1000, warnings.append) as stage:
        with stage.copy_of(slide) as copy:
            assert copy != slide
            assert copy.read_bytes() == slide.read_bytes()
        assert copies(tmp_path / "stage") == []
    assert not list((tmp_path / "stage").glob("*/"))
    assert (stage.counts, warnings) == ({"copied": 1}, [])


def test_slides_of_several_files_are_copied_whole_or_read_where_they_are(tmp_path: Path) -> None:
    mirax = put(tmp_path / "m.mrxs")
    put(tmp_path / "m" / "Data0001.dat")
    chunk = put(tmp_path / "z.zarr" / "0" / "1")
    listed = put(tmp_path / "v.vms")
    with Stage(tmp_path / "stage", 1000, lambda text: None) as stage:
        with stage.copy_of(mirax) as copy, stage.copy_of(chunk.parents[1]) as store:
            assert (copy.parent / "m" / "Data0001.dat").stat().st_size == 100
            assert (store / "0" / "1").read_bytes() == chunk.read_bytes()
        with stage.copy_of(listed) as path:
            assert path == listed


@pytest.mark.parametrize("reason", ["larger", "full", "failed"])
def test_a_slide_that_cannot_be_copied_is_read_where_it_is(tmp_path: Path, reason: str) -> None:
    """Never silently: each is named with its reason, and counted."""
    slide, warnings = put(tmp_path / "a.svs"), list[str]()
    if reason == "failed":
        slide.unlink()
    with (
        Stage(tmp_path / "stage", 150, lambda text: None) as other,
        Stage(tmp_path / "stage", 50 if reason == "larger" else 150, warnings.append) as stage,
        other.copy_of(put(tmp_path / "b.svs", 100 if reason == "full" else 10)),
        stage.copy_of(slide) as path,
    ):
        assert path == slide
    (warning,) = warnings
    assert warning.startswith(f"{slide}: read where it is: ")
    assert reason in warning
    assert list(stage.counts.values()) == [1]
    assert "copied" not in stage.counts


def test_a_copy_waits_for_the_room_of_an_earlier_one(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a.svs"), put(tmp_path / "b.svs")
    copied = threading.Event()
    with Stage(tmp_path / "stage", 150, lambda text: None) as stage:

        def copy_second() -> None:
            with stage.copy_of(second):
                copied.set()

        with stage.copy_of(first):
            thread = threading.Thread(target=copy_second)
            thread.start()
            assert not copied.wait(0.2)
            assert copies(tmp_path / "stage") == ["a.svs"]
        thread.join(10)
    assert copied.is_set()
    assert stage.counts == {"copied": 2}


def test_nothing_waits_for_room_once_nobody_reads(tmp_path: Path) -> None:
    """A run that ends with an error leaves copies unread, which nobody removes."""
    slide = put(tmp_path / "a.svs")
    with (
        Stage(tmp_path / "stage", 150, print) as stage,
        ThreadPoolExecutor(1) as pool,
        stage.copy_of(slide),
    ):
        waiting = pool.submit(stage.copy_of(slide).__enter__)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        stage.stop()
        assert waiting.exception(10) is not None


def test_copies_of_a_killed_process_are_removed_by_the_next(tmp_path: Path) -> None:
    slide = put(tmp_path / "a.svs")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tcssa.slides.image.staging import Stage\n"
        "copy = Stage(Path(sys.argv[1]), 1000, print).copy_of(Path(sys.argv[2]))\n"
        "copy.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    stage = tmp_path / "stage"
    command = [sys.executable, "-c", code, str(stage), str(slide)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert copies(stage) == ["a.svs"]
    with Stage(stage, 1000, lambda text: None):
        assert copies(stage) == []


def test_staged_slides_become_the_same_features(tmp_path: Path) -> None:
    """Though only one fits at a time: the next is copied when the last patch was read."""
    slides = [write_slide(tmp_path / f"{name}.tif", stained(300, 300)) for name in "abcd"]
    size = slides[0].stat().st_size
    plain = ExtractSettings(device="cpu")
    staged = plain.model_copy(update={"stage": f"{tmp_path / 'stage'}:{1.5 * size / 1e9:.9f}"})
    reports = [
        extract(slides, tmp_path / name, settings)
        for name, settings in (("plain", plain), ("staged", staged))
    ]
    assert reports[1].staged == {"copied": 4}
    assert [result.path for result in reports[1].slides] == slides
    for slide in slides:
        bags = []
        for report in reports:
            with open_bag(report.features_folder / f"{slide.stem}.h5") as bag:
                bags.append(bag.read())
        assert (bags[0] == bags[1]).all()
    assert not list((tmp_path / "stage").glob("*/"))


@pytest.mark.parametrize(
    ("text", "place"),
    [("/fast", (Path("/fast"), 50.0)), ("/fast:2.5", (Path("/fast"), 2.5)),
     ("C:\\fast", (Path("C:\\fast"), 50.0)), ("/a:b/c", (Path("/a:b/c"), 50.0))],
)  # fmt: skip
def test_a_stage_is_a_folder_and_a_size(text: str, place: tuple[Path, float]) -> None:
    assert place_and_size(text) == place


@pytest.mark.parametrize("text", ["/fast:50GB", "/fast:0", "/fast:nan", ":5"])
def test_a_size_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="must be a folder"):
        ExtractSettings(stage=text)


def test_a_stage_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be the --stage"):
        Stage(tmp_path / "file" / "stage", 10, print)
