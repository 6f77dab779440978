"""Listing of folders of very many files."""

import tracemalloc
from pathlib import Path

from tcssa.files.listing import each_named


def test_names_are_found_by_their_ends(tmp_path: Path) -> None:
    for name in (".a.tmp", ".b.tmp", "c.tmp", ".d"):
        (tmp_path / name).touch()
    assert sorted(each_named(tmp_path, ".", ".tmp")) == [tmp_path / ".a.tmp", tmp_path / ".b.tmp"]
    assert list(each_named(tmp_path / "none", "", "")) == []
    assert list(each_named(tmp_path / ".d", "", "")) == []


def test_what_does_not_match_takes_no_memory(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"slide-{number}.h5").touch()
    tracemalloc.start()
    assert next(each_named(tmp_path, ".", ".tmp"), None) is None
    assert tracemalloc.get_traced_memory()[1] < 50_000  # 25 bytes a file
    tracemalloc.stop()
