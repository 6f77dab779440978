"""Reading of text and JSON."""

import io
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from tcssa.errors import FileError
from tcssa.files.text import lines_of, parse_json, read_json, read_model, read_text

PATH = Path("run.json")


class Facts(BaseModel):
    name: str
    sizes: list[int] = Field(max_length=2)


def test_a_byte_order_mark_is_left_out_and_line_ends_stay(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfslide,label\r\ns\xc3\xa9,a\n")
    assert read_text(path, FileError) == "slide,label\r\nsé,a\n"
    path.write_bytes("a,b\n".encode("utf-16"))
    assert read_text(path, FileError, table=True) == "a,b\n"
    with pytest.raises(FileError, match="is not text in UTF-8: it begins as UTF-16 does"):
        read_text(path, FileError)
    for content in ("é".encode("latin-1"), b"a\0b"):
        path.write_bytes(content)
        with pytest.raises(FileError, match="is not text in UTF-8"):
            read_text(path, FileError)


@pytest.mark.parametrize(
    "text", ["", "a", "a\n", "\n\r\n\r", "a\rb\r\nc\nd", "a\x0bb\u2028c\x85d\n\x1ce", "\r\r\n\n"]
)
def test_lines_end_where_python_s_files_end_them(text: str) -> None:
    assert list(lines_of(text)) == list(io.StringIO(text, newline=""))


def test_json_that_could_be_read_in_two_ways_is_refused() -> None:
    for text, reason in (
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the name 'c' stands twice"),
        ('["\\ud83d"]', "is not valid JSON"),
        ("[1, 2", "is not valid JSON"),
    ):
        with pytest.raises(FileError, match=reason):
            parse_json(text, PATH, FileError, top=(dict, list))
    assert parse_json('["\\ud83d\\ude00"]', PATH, FileError, top=list) == ["😀"]


def test_nesting_is_bounded_whether_python_bears_it_or_not(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    for depth, reason in ((65, "claims 65 levels"), (200_000, "nested too deeply")):
        path.write_text("[" * depth + "]" * depth)
        with pytest.raises(FileError, match=reason):
            read_json(path, FileError, top=list)
    path.write_text("[" * 63 + "{}" + "]" * 63)
    assert read_json(path, FileError, top=list)


def test_what_does_not_fit_is_named_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="line 3: must hold an object, holds a list"):
        parse_json("[]", PATH, FileError, top=dict, line=3)
    with pytest.raises(FileError, match="must hold an object or a list, holds one value"):
        parse_json("7", PATH, FileError, top=(dict, list))
    path = tmp_path / "facts.json"
    path.write_text('{"name": "a", "sizes": [1, "two"]}')
    with pytest.raises(FileError, match=r"is not valid: sizes\.1: .*integer"):
        read_model(path, FileError, Facts)
    path.write_text('{"name": "a", "sizes": [1, 2]}')
    assert read_model(path, FileError, Facts) == Facts(name="a", sizes=[1, 2])
