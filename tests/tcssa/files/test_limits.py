"""Limits on what a file may claim."""

from pathlib import Path

import pytest

from tcssa.errors import FileError, UsageError
from tcssa.files.limits import Limit

TILES = Limit("TCSSA_MAX_TEST_TILES", 1000, "tiles")
PATH = Path("slide.tif")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TILES.variable, raising=False)


def test_as_much_as_the_limit_is_read_and_one_more_is_refused() -> None:
    TILES.require(1000, PATH, FileError)
    with pytest.raises(FileError, match="claims 1,001 tiles, and at most 1,000 are read"):
        TILES.require(1001, PATH, FileError)


def test_doing_what_the_hint_says_lets_the_file_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError) as caught:
        TILES.require(123_456, PATH, FileError)
    assert caught.value.hint is not None
    (setting,) = (word for word in caught.value.hint.split() if "=" in word)
    monkeypatch.setenv(*setting.split("="))
    TILES.require(123_456, PATH, FileError)


def test_a_large_file_earns_more_but_the_variable_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert TILES.value(earned=5000) == 5000
    assert TILES.value(earned=10) == 1000
    monkeypatch.setenv(TILES.variable, "20")
    assert TILES.value(earned=5000) == 20


@pytest.mark.parametrize("text", ["", "0", "-1", "1e6", "2.0", " 7", "٣", "²", "9" * 20])
def test_a_variable_that_is_no_positive_whole_number_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TILES.variable, text)
    with pytest.raises(UsageError, match=f"{TILES.variable} must be a positive whole number"):
        TILES.value()
