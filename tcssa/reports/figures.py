"""The common style of figures, drawn without a display."""

from __future__ import annotations

import warnings
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from tcssa.files import atomic

INK = "#3b2a5a"
_WIDE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip


def families() -> list[str]:
    """List Matplotlib's own font, and installed fonts of wide coverage for what it lacks."""
    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _WIDE_FONTS if name in installed)]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: A figure of Matplotlib.
        path: The PNG to write.
    """
    with atomic.replacing(path) as temporary, warnings.catch_warnings():
        # of a script without any font here: boxes in the picture say so
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, dpi=130, format="png")
