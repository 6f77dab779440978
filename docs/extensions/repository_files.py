"""Files of the repository on the site: notebooks as pages, and links that leave ``docs/``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
SHOWN = {ROOT / f"{page.upper()}.md": page for page in ("contributing", "security", "changelog")}
"""Files beside ``docs/`` that are pages too; a stub in ``docs/`` links to each."""

_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(?=[)#])")


def setup(app: Sphinx) -> None:
    """Take notebooks for pages, and complete pages as they are read."""
    app.add_source_suffix(".ipynb", "markdown")
    app.connect("source-read", _read)


def _read(app: Sphinx, page: str, text: list[str]) -> None:
    source = Path(app.env.doc2path(page))
    here = source.parent
    if source.suffix == ".ipynb":
        text[0] = "\n\n".join(_notebook(json.loads(text[0])))
    for file, shown_as in SHOWN.items():
        if page == shown_as:
            source, text[0] = file, file.read_text(encoding="utf-8")

    def target(link: re.Match[str]) -> str:
        file = Path(os.path.normpath(source.parent / link[1]))
        file = DOCS / f"{SHOWN[file]}.md" if file in SHOWN else file
        return os.path.relpath(file, here)

    text[0] = _LINK.sub(target, text[0])


def _notebook(notebook: Mapping[str, Any]) -> Iterator[str]:
    """Yield the cells and what they printed and drew, as Markdown."""
    for cell in notebook["cells"]:
        content = "".join(cell["source"])
        yield f"```python\n{content}\n```" if cell["cell_type"] == "code" else content
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                drawn = "".join(data["image/png"]).strip()
                yield f"![What the cell drew](data:image/png;base64,{drawn})"
            else:
                yield f"```text\n{''.join(output.get('text', data.get('text/plain', '')))}\n```"
