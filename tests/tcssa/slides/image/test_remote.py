"""Remote slides: fetched whole or not at all, kept within bounds, never taken from a reader."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from slide_files import stained, write_slide

from tcssa.errors import SlideError, UsageError
from tcssa.features import open_bag
from tcssa.files import atomic
from tcssa.files.remote_file import is_remote, plain_address
from tcssa.slides import ExtractSettings, extract, find_slides
from tcssa.slides.image.remote import SlideCache
from tcssa.slides.manifest import read_manifest

# A file system whose files kill the process once, or say how they are read.
SLOW = """
import os, signal, sys
from pathlib import Path
import fsspec
from fsspec.implementations.local import LocalFileSystem
from tcssa.files import remote_file
from tcssa.slides.image import remote

remote_file._CHUNK_BYTES = 100_000


class Slow(LocalFileSystem):
    protocol = "slow"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("slow://"))

    def open(self, path, mode):
        stream, reads = open(path, mode), []
        inner = stream.read

        class Wrapped:
            __enter__ = lambda self: self
            __exit__ = lambda self, *error: stream.close()
            seek = lambda self, place: stream.seek(place)

            def read(self, size):
                reads.append(stream.tell())
                if len(reads) == 1:
                    print("from", stream.tell())
                if len(reads) > int(sys.argv[3]):
                    sys.stdout.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                return inner(size)

        return Wrapped()


fsspec.register_implementation("slow", Slow)
with remote.SlideCache(Path(sys.argv[1]), 10**9) as cache, cache.copy_of(sys.argv[2]) as path:
    print(path.read_bytes() == Path(sys.argv[2].removeprefix("slow://")).read_bytes())
"""


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def put(files: Any, name: str, content: bytes) -> str:
    files.pipe(f"/bucket/{name}", content)
    return f"memory://bucket/{name}"


def kept(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*/*"))


@pytest.mark.parametrize(
    ("text", "remote"),
    [("s3://b/a.svs", True), ("https://h/a.svs", True), ("C:\\a.svs", False), ("a/b.svs", False),
     ("file:///a/b.svs", False)],
)  # fmt: skip
def test_an_address_is_told_from_a_path(text: str, remote: bool) -> None:
    assert is_remote(text) is remote


def test_an_address_is_shown_without_its_secrets() -> None:
    assert plain_address("https://me:word@host:8/a/b.svs?Signature=x#y") == "https://host:8/a/b.svs"


def test_a_copy_is_kept_and_not_fetched_twice(memory: Any, tmp_path: Path) -> None:
    address = put(memory, "a.svs", b"abc")
    cache = SlideCache(tmp_path, 1000)
    with cache.copy_of(address) as first:
        assert first.name == "a.svs"
        assert first.read_bytes() == b"abc"
        first.write_bytes(b"ABC")
    with cache.copy_of(address) as second:
        assert second.read_bytes() == b"ABC"


def test_a_changed_original_is_fetched_anew(memory: Any, tmp_path: Path) -> None:
    cache = SlideCache(tmp_path, 1000)
    with cache.copy_of(put(memory, "a.svs", b"abc")):
        pass
    with cache.copy_of(put(memory, "a.svs", b"abcd")) as path:
        assert path.read_bytes() == b"abcd"


def test_without_a_folder_nothing_is_kept(memory: Any) -> None:
    with SlideCache(None, 10**9) as cache:
        with cache.copy_of(put(memory, "a.svs", b"abc")) as path:
            assert path.exists()
        assert not path.exists()
    assert not cache.folder.exists()


def test_a_killed_processs_temporary_copies_are_removed_by_the_next(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with SlideCache(None, 10**9):
        assert list(tmp_path.iterdir()) == []  # nothing was fetched, so there is no folder
    code = (
        "import os, signal, sys, tempfile; from tcssa.slides.image.remote import SlideCache\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "cache = SlideCache(None, 0); (cache.folder / 'copy').touch()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    address = put(memory, "a", b"abc")
    caches = SlideCache(None, 10**9), SlideCache(None, 10**9)
    with caches[0] as mine, mine.copy_of(address), caches[1] as other, other.copy_of(address):
        assert not left.exists()
        assert len(list(tmp_path.iterdir())) == 2  # one that is in use stays
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is removed there")
def test_a_folder_in_use_stays_though_its_process_cannot_be_seen(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(atomic, "alive", lambda pid: False)  # as from within another container
    address = put(memory, "a", b"abc")
    caches = SlideCache(None, 10**9), SlideCache(None, 10**9)
    with caches[0] as mine, mine.copy_of(address) as copy:
        with caches[1] as other, other.copy_of(address):
            assert mine.folder != other.folder
        assert copy.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_are_removed_and_never_one_in_use(memory: Any, tmp_path: Path) -> None:
    cache = SlideCache(tmp_path, 250)
    addresses = {name: put(memory, name, bytes(100)) for name in "abcd"}
    with cache.copy_of(addresses["a"]) as in_use:
        for age, name in enumerate("bc"):
            with cache.copy_of(addresses[name]) as path:
                pass
            os.utime(path.parent, (age, age))
        os.utime(in_use.parent, (0, 0))
        assert kept(tmp_path) == ["a", "c"]
        with cache.copy_of(addresses["d"]):
            assert kept(tmp_path) == ["a", "d"]
    os.utime(in_use.parent, (0, 0))
    with cache.copy_of(addresses["b"]):
        assert kept(tmp_path) == ["b", "d"]


def test_a_slide_larger_than_the_cache_is_read_and_then_removed(
    memory: Any, tmp_path: Path
) -> None:
    with SlideCache(tmp_path, 10).copy_of(put(memory, "a", bytes(100))) as path:
        assert path.stat().st_size == 100
    assert kept(tmp_path) == []


def test_another_processs_slide_is_not_removed(memory: Any, tmp_path: Path) -> None:
    with SlideCache(tmp_path, 0).copy_of(put(memory, "a", bytes(100))) as path:
        code = (
            "import sys; from pathlib import Path\n"
            "from tcssa.slides.image.remote import SlideCache\n"
            "SlideCache(Path(sys.argv[1]), 0)._trim()"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert path.exists()
    assert not path.exists()


def test_a_killed_fetch_leaves_no_copy_and_goes_on_where_it_stood(
    cmu: Path, tmp_path: Path
) -> None:
    def run(reads: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SLOW, str(tmp_path), f"slow://{cmu}", str(reads)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    killed = run(8)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (partial,) = kept(tmp_path)
    assert partial == f"{cmu.name}.part"
    size = next(tmp_path.glob("*/*.part")).stat().st_size
    assert 0 < size <= 800_000
    resumed = run(1000)
    assert resumed.stdout.split("\n")[:2] == [f"from {size}", "True"], resumed.stderr
    assert kept(tmp_path) == [cmu.name]


def test_what_cannot_be_reached_is_told_in_one_line(memory: Any, tmp_path: Path) -> None:
    put(memory, "folder/a.svs", b"abc")
    for address, reason in [
        ("memory://bucket/none.svs", "FileNotFoundError"),
        ("memory://bucket/folder", "is a folder"),
        ("nowhere://bucket/a.svs", "Protocol not known"),
    ]:
        with (
            pytest.raises(SlideError, match=reason) as caught,
            SlideCache(tmp_path, 10).copy_of(address),
        ):
            pass
        assert "\n" not in str(caught.value)


def test_remote_slides_are_extracted_and_an_unreachable_one_fails_alone(
    memory: Any, tmp_path: Path
) -> None:
    local = write_slide(tmp_path / "here.tif", stained(500, 500))
    there = put(memory, "there.tif", local.read_bytes())
    slides = find_slides([there, "memory://bucket/gone.tif", local.as_uri()])
    assert [slide.slide_id for slide in slides] == ["there", "gone", "here"]
    settings = ExtractSettings(device="cpu", cache=tmp_path / "cache")
    report = extract(slides, tmp_path / "job", settings)
    assert [result.status for result in report.slides] == ["done", "failed", "done"]
    assert "memory://bucket/gone.tif: cannot be fetched" in (report.slides[1].reason or "")
    bags = []
    for name in ("there", "here"):
        with open_bag(report.features_folder / f"{name}.h5") as bag:
            bags.append(bag.read())
    assert (bags[0] == bags[1]).all()
    assert kept(tmp_path / "cache") == ["there.tif"]
    memory.store.clear()  # what is finished is not asked for again
    again = extract(slides, tmp_path / "job", settings)
    assert sorted(result.status for result in again.slides) == ["failed", "skipped", "skipped"]


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be the --cache"):
        SlideCache(tmp_path / "file" / "cache", 10)


def test_a_manifest_may_hold_addresses(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("wsi,mpp,slide_id\ns3://bucket/a.svs?x=1,0.25,\nhttps://h/b.svs,,second\n")
    first, second = read_manifest(table)
    assert (first.slide_id, first.mpp, first.source) == ("a", 0.25, "s3://bucket/a.svs?x=1")
    assert (second.slide_id, second.source) == ("second", "https://h/b.svs")
