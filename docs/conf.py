"""Settings of the site: ``nox -s docs`` builds it, strictly."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import tcssa

sys.path.insert(0, str(Path(__file__).resolve().parent / "extensions"))

# autodoc writes into the annotations of pydantic's BaseModel when it meets the first model, and
# models that are made after that fail; so all are made before
for name in (
    "tcssa.mil.training.train",
    "tcssa.mil.prediction.predict",
    "tcssa.vqa.evaluation.evaluate",
    "tcssa.vqa.explain.slide_session",
    "tcssa.vqa.model.merge",
    "tcssa_exporters",
    "tcssa_runtimes",
):
    importlib.import_module(name)

highlight_language = "text"  # of blocks that name none: output, layouts of folders
project = "tcssa"
author = project_copyright = "The tcssa developers"
version = release = tcssa.__version__
root_doc = "index"
exclude_patterns = ["extensions"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "calls",
    "command_options",
    "repository_files",
]

myst_heading_anchors = 4  # made as GitHub makes them, so that one link serves both
myst_enable_extensions = ["deflist"]

default_role = "py:obj"  # `name` in a docstring
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"tcssa {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
