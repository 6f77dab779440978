"""A report as one HTML file that holds its own pictures and loads nothing else."""

from __future__ import annotations

import base64
import html
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.files import atomic
from tcssa.version import __version__

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #595959; --line: #d8d4e0; --back: #fff;
        --box: #f5f3f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e4ea; --faint: #a9a5b3; --line: #45414e; --back: #17151b; --box: #232029; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, li, figcaption { max-width: 46rem; } ul { padding-left: 1.2rem; }
.table, .wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; }
td, th { padding: .25rem 1.1rem .25rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; font-weight: 600; color: var(--faint); }
tbody th { font-weight: 600; min-width: 4rem; } tbody th:not(.number) { min-width: 9rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
tbody .number { white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin: 1rem 0; }
figure { margin: 0; min-width: 0; max-width: 100%; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
.wide img { min-width: 44rem; max-width: none; }
@media (min-width: 48rem) { .wide img { min-width: 0; max-width: 100%; } }
figcaption, footer { color: var(--faint); font-size: .9rem; } figcaption { margin-top: .3rem; }
pre { background: var(--box); padding: .8rem 1rem; overflow-x: auto; }
@media print {
  :root { --ink: #000; --faint: #444; --line: #bbb; --back: #fff; --box: #f4f4f4; }
  body { max-width: none; margin: 0; font-size: 10.5pt; }
  .wide img { min-width: 0; max-width: 100%; } pre { white-space: pre-wrap; }
  figure, tr { break-inside: avoid; } h2 { break-after: avoid; } .table { overflow-x: visible; }
}
"""
# a browser then refuses any request that a page might make
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NUMBER = re.compile(r"(?:[+−-]?\d.*|not defined|–|)")
_SHARPNESS = 4 / 3
"""Pixels of a drawn plot per pixel of the page: sharp on fine screens, and not too large."""
_WIDE = 640
"""Plots wider than this many pixels are scrolled on a narrow screen, and not shrunk."""


@dataclass(frozen=True)
class Figure:
    """A picture and its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page; empty fields are left out."""

    title: str
    text: str
    rows: Sequence[Sequence[str]] = ()
    """A table; its first row is the header."""
    facts: Sequence[Sequence[str]] = ()
    """Names and values, without a header."""
    notes: Sequence[str] = ()
    """Remarks below the tables, one a line."""
    figures: Sequence[Figure] = ()
    code: str = ""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically.

    Args:
        path: The HTML file to write.
        title: Title of the page, plain text.
        sections: Parts of the page, in order.
    """
    body = "\n".join(_section(section) for section in sections)
    atomic.write_text(
        path,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n"
        f"<footer>tcssa {__version__}</footer></body></html>\n",
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    if section.rows:
        parts.append(_table(*section.rows))
    if section.facts:
        facts = "".join(_row([(cell, "") for cell in row]) for row in section.facts)
        parts.append(f"<table class='facts'><tbody>{facts}</tbody></table>")
    if section.notes:
        items = "".join(f"<li>{html.escape(note)}</li>" for note in section.notes)
        parts.append(f"<ul>{items}</ul>")
    if section.figures:
        parts.append(f"<div class='figures'>{''.join(map(_figure, section.figures))}</div>")
    if section.code:
        parts.append(f"<pre>{html.escape(section.code)}</pre>")
    return "\n".join(parts)


def _table(header: Sequence[str], *rows: Sequence[str]) -> str:
    """Render a table; columns that hold only numbers are right-aligned, with their header."""
    kinds = [
        " class='number'" if rows and all(_NUMBER.fullmatch(row[i]) for row in rows) else ""
        for i in range(len(header))
    ]
    head = "".join(
        f"<th scope='col'{kind}>{html.escape(name)}</th>"
        for name, kind in zip(header, kinds, strict=True)
    )
    body = "".join(_row(list(zip(row, kinds, strict=True))) for row in rows)
    return (
        f"<div class='table'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[tuple[str, str]]) -> str:
    (first, kind), *rest = cells
    values = "".join(f"<td{kind}>{html.escape(text)}</td>" for text, kind in rest)
    return f"<tr><th scope='row'{kind}>{html.escape(first)}</th>{values}</tr>"


def _figure(figure: Figure) -> str:
    content = figure.path.read_bytes()
    kind = "png" if figure.path.suffix == ".png" else "jpeg"
    data = base64.b64encode(content).decode("ascii")
    caption = html.escape(figure.caption)
    frame, size = "", ""
    if kind == "png":
        pixels = struct.unpack_from(">II", content, offset=16)  # IHDR, the first chunk
        width, height = (round(side / _SHARPNESS) for side in pixels)
        size = f" width='{width}' height='{height}'"
        frame = f" class='{'wide' if width > _WIDE else 'plot'}' style='width:{width}px'"
    return (
        f"<figure{frame}><img alt='{caption}'{size} src='data:image/{kind};base64,{data}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )
