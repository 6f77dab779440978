"""A page stands alone, takes no text for markup, and sets its tables right."""

from pathlib import Path

import pytest
from html_pages import Page, read_page
from PIL import Image

from tcssa.reports.html_page import Figure, Section, write_page


def page_of(folder: Path, *sections: Section) -> Page:
    write_page(folder / "page.html", "A <title> & more", sections)
    return read_page(folder / "page.html")


def test_text_is_not_taken_for_markup(tmp_path: Path) -> None:
    text = "p < 0.05 & q > 0.1 <script>alert('1')</script>"
    page = page_of(
        tmp_path,
        Section(text, text, rows=[[text, text], [text, text]], facts=[[text, text]], code=text),
        Section("Notes", "", notes=[text]),
    )
    assert page.text.count(text) == 10
    assert page.text.count("A <title> & more") == 2


def test_columns_of_numbers_stand_to_the_right_with_their_header(tmp_path: Path) -> None:
    rows = [
        ["run", "AUC", "difference", "reason"],
        ["a", "0.953 (0.875 – 1.000)", "–", "3 slides"],
        ["b", "not defined", "\N{MINUS SIGN}0.048", "none"],
    ]
    page = page_of(tmp_path, Section("Table", "", rows=rows))
    assert page.cells == rows
    kinds = [attrs.get("class") for tag, attrs in page.tags if tag in ("th", "td")]
    assert kinds == [None, "number", "number", None] * 3


def test_facts_have_no_header_and_are_text(tmp_path: Path) -> None:
    facts = [["slides", "40"], ["SHA-256", "70" * 32]]
    page = page_of(tmp_path, Section("From", "", facts=facts))
    assert page.cells == facts
    assert "thead" not in [tag for tag, _ in page.tags]
    assert all(attrs.get("class") is None for attrs in page.attributes("td"))


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ValueError, IndexError)):
        write_page(tmp_path / "page.html", "t", [Section("T", "", rows=[["a", "b"], ["1"]])])
    assert not (tmp_path / "page.html").exists()


def test_pictures_are_inside_with_their_size_and_words(tmp_path: Path) -> None:
    names = ("small.png", "large.png", "photo.jpg")
    for name, width in zip(names, (400, 1200, 300), strict=True):
        Image.new("RGB", (width, 200), "white").save(tmp_path / name)
    figures = [Figure(tmp_path / name, f"shows 'the' {name}") for name in names]
    page = page_of(tmp_path, Section("Pictures", "", figures=figures))
    images = page.attributes("img")
    assert [image["alt"] for image in images] == [f"shows 'the' {name}" for name in names]
    assert [image.get("width") for image in images] == ["300", "900", None]
    assert [image.get("height") for image in images] == ["150", "150", None]
    assert [frame.get("class") for frame in page.attributes("figure")] == ["plot", "wide", None]
    assert str(images[2]["src"]).startswith("data:image/jpeg;base64,")


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, Section("Only a title", ""))
    assert {"p", "table", "ul", "pre", "img"}.isdisjoint(tag for tag, _ in page.tags)
