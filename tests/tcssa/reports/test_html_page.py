"""A page stands alone, takes no text for markup, and sets its tables right."""

import re
from pathlib import Path

import pytest
from html_pages import Page, read_page
from jinja2 import UndefinedError
from PIL import Image

from tcssa.reports.html_page import interval, number, write_page

ROOT = Path(__file__).parents[3]
FRAME = """{% extends "reports/page.html" %}
{% import "reports/parts.html" as parts %}
{% block title %}A <title> {{ "& more" }}{% endblock %}
{% block sections %}BODY{% endblock %}
"""


def page_of(folder: Path, body: str, **values: object) -> Page:
    template = folder / "template.html"
    template.write_text(FRAME.replace("A <title>", "A &lt;title>").replace("BODY", body))
    write_page(folder / "page.html", template, **values)
    return read_page(folder / "page.html")


def test_text_is_not_taken_for_markup(tmp_path: Path) -> None:
    text = "p < 0.05 & q > 0.1 <script>alert('1')</script>"
    Image.new("RGB", (40, 20), "white").save(tmp_path / "a.png")
    body = """<p>{{ text }}</p>{{ parts.table([text, text], [[text, text]]) }}
    {{ parts.facts([(text, text)]) }}{{ parts.notes([text]) }}<pre>{{ text }}</pre>
    {{ parts.figures([(picture, text)]) }}"""
    page = page_of(tmp_path, body, text=text, picture=tmp_path / "a.png")
    assert page.text.count(text) == 10
    assert page.text.count("A <title> & more") == 2
    assert page.attributes("img")[0]["alt"] == text


def test_no_template_of_the_house_puts_text_in_unescaped() -> None:
    packages = ("tcssa", "tcssa_cli", "runtimes", "exporters")
    templates = [path for name in packages for path in (ROOT / name).rglob("*.html")]
    assert len(templates) >= 10
    for path in templates:
        assert not re.search(r"\|\s*safe|autoescape", path.read_text(encoding="utf-8")), path


def test_a_misspelt_name_is_an_error_and_no_gap_in_the_page(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="metrisc"):
        page_of(tmp_path, "{{ metrisc.auc }}", metrics={})
    assert not (tmp_path / "page.html").exists()


def test_columns_of_numbers_stand_to_the_right_with_their_header(tmp_path: Path) -> None:
    rows = [
        ["run", "AUC", "difference", "reason"],
        ["a", "0.953 (0.875 – 1.000)", "–", "3 slides"],
        ["b", "not defined", "\N{MINUS SIGN}0.048", "none"],
    ]
    page = page_of(tmp_path, "{{ parts.table(rows[0], rows[1:]) }}", rows=rows)
    assert page.cells == rows
    kinds = [attrs.get("class") for tag, attrs in page.tags if tag in ("th", "td")]
    assert kinds == [None, "number", "number", None] * 3


def test_facts_have_no_header_and_are_text(tmp_path: Path) -> None:
    facts = [["slides", "40"], ["SHA-256", "70" * 32]]
    page = page_of(tmp_path, "{{ parts.facts(facts) }}", facts=facts)
    assert page.cells == facts
    assert "thead" not in [tag for tag, _ in page.tags]
    assert all(attrs.get("class") is None for attrs in page.attributes("td"))


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 cells"):
        page_of(tmp_path, "{{ parts.table(['a', 'b'], [['1']]) }}")
    assert not (tmp_path / "page.html").exists()


def test_pictures_are_inside_with_their_size_and_words(tmp_path: Path) -> None:
    names = ("small.png", "large.png", "photo.jpg")
    for name, width in zip(names, (400, 1200, 300), strict=True):
        Image.new("RGB", (width, 200), "white").save(tmp_path / name)
    pairs = [(tmp_path / name, f"shows 'the' {name}") for name in names]
    page = page_of(tmp_path, "{{ parts.figures(pairs) }}", pairs=pairs)
    images = page.attributes("img")
    assert [image["alt"] for image in images] == [f"shows 'the' {name}" for name in names]
    assert [image.get("width") for image in images] == ["300", "900", None]
    assert [image.get("height") for image in images] == ["150", "150", None]
    assert [frame.get("class") for frame in page.attributes("figure")] == ["plot", "wide", None]
    assert str(images[2]["src"]).startswith("data:image/jpeg;base64,")


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, "{{ parts.notes([]) }}{{ parts.figures([]) }}")
    assert {"ul", "div", "img"}.isdisjoint(tag for tag, _ in page.tags)


def test_figures_are_written_with_a_true_minus_and_say_where_there_is_none() -> None:
    assert number(0.91249) == "0.912"
    assert number(-1.5, 1, signed=True) == "\N{MINUS SIGN}1.5"
    assert number(None) == "not defined"
    assert interval({"low": 0.5, "high": 0.75}) == "0.500 – 0.750"
    assert interval({"low": 0.5, "high": None}, "none") == "none"
