"""What holds of every page: well-formed, of one file, readable by those who do not see it."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "img", "br"}
_SPACE = re.compile(r"\s+")  # a browser sets one space for any number of them
_REQUESTS = ("src", "href", "srcset", "action", "data", "poster")


class Page(HTMLParser):
    """A page as a browser takes it; tags that do not match are an AssertionError."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "pre" in self.open else _SPACE.sub(" ", data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def read_page(path: Path) -> Page:
    """Parse a page and check what holds of every one."""
    page = Page(path)
    for _, attrs in page.tags:
        for name in _REQUESTS:
            assert str(attrs.get(name) or "data:").startswith("data:"), f"asks for {attrs[name]}"
    assert {"script", "link", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    style = path.read_text(encoding="utf-8").partition("<style>")[2].partition("</style>")[0]
    assert style
    assert "url(" not in style
    assert "@import" not in style
    content = [attrs.get("content") or "" for attrs in page.attributes("meta")]
    assert any(text.startswith("default-src 'none'") for text in content)
    assert "width=device-width, initial-scale=1" in content
    assert all((image.get("alt") or "").strip() for image in page.attributes("img"))
    return page
