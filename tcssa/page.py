"""A page to look at: one HTML file that holds its own pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa import __version__, atomic

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #666; font-size: .9rem; }
pre { background: #f5f3f8; padding: .8rem 1rem; overflow-x: auto; }
"""


@dataclass(frozen=True)
class Figure:
    """A picture and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    title: str
    text: str
    rows: Sequence[Sequence[str]] = ()
    figures: Sequence[Figure] = ()
    code: str = ""


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically."""
    body = "\n".join(_section(section) for section in sections)
    atomic.write_text(
        path,
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n"
        f"<p>tcssa {__version__}</p></body></html>\n",
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>", f"<p>{html.escape(section.text)}</p>"]
    if section.rows:
        parts.append(f"<table>{''.join(map(_row, section.rows))}</table>")
    parts += [_figure(figure) for figure in section.figures]
    if section.code:
        parts.append(f"<pre>{html.escape(section.code)}</pre>")
    return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    first, *rest = cells
    return f"<tr><th>{html.escape(first)}</th>" + "".join(map(_cell, rest)) + "</tr>"


def _cell(text: str) -> str:
    number = " class='number'" if text[:1].isdigit() else ""
    return f"<td{number}>{html.escape(text)}</td>"


def _figure(figure: Figure) -> str:
    kind = "png" if figure.path.suffix == ".png" else "jpeg"
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    caption = html.escape(figure.caption)
    return (
        f"<figure><img alt='{caption}' src='data:image/{kind};base64,{data}'>"
        f"<figcaption>{caption}</figcaption></figure>"
    )
