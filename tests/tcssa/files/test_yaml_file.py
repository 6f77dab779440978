"""YAML of others: plain values, in no more memory than settings need."""

import time
import tracemalloc
from pathlib import Path

import pytest
from json_damages import DAMAGES, require_one_line

from tcssa.errors import SettingsFileError
from tcssa.files.yaml_file import read_yaml_mapping

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


def read(path: Path, text: str) -> dict[str, object]:
    path.write_text(text)
    return read_yaml_mapping(path, SettingsFileError)


def test_settings_are_read(tmp_path: Path) -> None:
    text = "\ufeffa: {b: 1.5, c: [x, 'y']}\nd: null\n"
    assert read(tmp_path / "c.yaml", text) == {"a": {"b": 1.5, "c": ["x", "y"]}, "d": None}
    assert read(tmp_path / "c.yaml", "# nothing\n") == {}
    assert read(tmp_path / "c.yaml", "a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_numbers_are_read_and_those_to_the_base_60_are_text(tmp_path: Path) -> None:
    text = "a: [1, -2, 0x1f, 0b11, 017, 1_000, 1.5, -.5, 1e3, 1.0e+3, .inf, !!float 3, !!int '4']"
    assert read(tmp_path / "c.yaml", text) == {
        "a": [1, -2, 31, 3, 15, 1000, 1.5, "-.5", "1e3", 1000.0, float("inf"), 3.0, 4]
    }
    text = "a: [1:30, -1:30, 1:30.5, '1:30', !!str 1:30]"
    assert read(tmp_path / "c.yaml", text) == {"a": ["1:30", "-1:30", "1:30.5", "1:30", "1:30"]}


def test_a_long_number_to_the_base_60_takes_no_time(tmp_path: Path) -> None:
    number = "1" + ":1" * 125_000
    begin = time.monotonic()
    assert read(tmp_path / "c.yaml", f"a: {number}") == {"a": number}
    for tag in ("int", "float"):
        with pytest.raises(SettingsFileError, match="is no number"):
            read(tmp_path / "c.yaml", f"a: !!{tag} {number}")
    assert time.monotonic() - begin < 2


def test_aliases_of_aliases_take_no_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    with pytest.raises(SettingsFileError, match="values, aliases written out") as caught:
        read(tmp_path / "c.yaml", LAUGHS)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert caught.value.hint is not None
    assert "TCSSA_MAX_SETTINGS_VALUES=" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['true']", "a: !!python/name:os.system", "a: &a [*a]",
        "&a {b: *a}", "a: 1\na: 2", "m: {a: 1, a: 2}", "[1, 2]", "just text", "1: x", "a: *b",
        "a: [", "\ta: 1", "a: " + "[" * 2000 + "]" * 2000, "a: 2000-13-45", "? [a, b]\n: 1",
        "a: {<<: 3}", f"a: {'9' * 5000}", f"a: 0x{'f' * 5000}", "a: !!int {}",
        "a: !!float ''", "x" * 300_000,
    ],
)  # fmt: skip
def test_what_is_no_settings_is_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsFileError) as caught:
        read(tmp_path / "c.yaml", text)
    require_one_line(caught.value, tmp_path / "c.yaml")


@pytest.mark.parametrize("damage", ["in UTF-16", "with a NUL", "a folder", "a pipe",
                                    "a loop of links", "closed to us"])  # fmt: skip
def test_what_is_no_file_of_text_is_one_line(damage: str, tmp_path: Path) -> None:
    DAMAGES[damage](tmp_path / "c.yaml", b"{a: 1}")
    with pytest.raises(SettingsFileError) as caught:
        read_yaml_mapping(tmp_path / "c.yaml", SettingsFileError)
    require_one_line(caught.value, tmp_path / "c.yaml")
