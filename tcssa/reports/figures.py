"""The common style of figures, drawn without a display."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from tcssa.files import atomic

INK = "#3b2a5a"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: A figure of Matplotlib.
        path: The PNG to write.
    """
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
