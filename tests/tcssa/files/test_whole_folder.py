"""Folders that appear whole or not at all."""

from pathlib import Path

import pytest

from tcssa.errors import RunError
from tcssa.files.whole_folder import whole_folder


def test_the_folder_appears_when_all_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out) as filled:
        (filled / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_folder_that_one_is_in_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with whole_folder(Path()) as filled:
        (filled / "a").write_text("a")
    assert (tmp_path / "here" / "a").exists()


def fail_in(out: Path) -> None:
    with whole_folder(out) as filled:
        (filled / "a").write_text("a")
        raise ZeroDivisionError


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_in(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(RunError, match="holds something"), whole_folder(tmp_path):
        pass
    assert (tmp_path / "mine").exists()
