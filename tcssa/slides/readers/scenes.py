"""Choice among the pictures of one file: scenes, labels, thumbnails and focal planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcssa.errors import SlideError

_SHOWN = 6


@dataclass(frozen=True)
class Scene:
    """One of the pictures that a file holds, at full size."""

    name: str
    width: int
    height: int


def choose_scene(
    path: Path, scenes: Sequence[Scene], wanted: int | None
) -> tuple[int, tuple[str, ...]]:
    """Choose the scene to read: the one asked for, or else the largest, the first of equals.

    Args:
        path: The slide.
        scenes: All scenes, at least one.
        wanted: Index of the scene that the user asks for, from 0; None leaves the choice.

    Returns:
        The index of the scene, and a remark that names the others where there are any and no scene
        was asked for.

    Raises:
        SlideError: There is no such scene.
    """
    listed = "; ".join(
        f"{index}: {scene.name or 'unnamed'}, {scene.width} x {scene.height}"
        for index, scene in enumerate(scenes[:_SHOWN])
    )
    if len(scenes) > _SHOWN:
        listed += f"; and {len(scenes) - _SHOWN} more"
    if wanted is not None:
        if wanted >= len(scenes):
            raise SlideError(
                path, f"has no scene {wanted} ({listed})", hint="scenes are counted from 0"
            )
        return wanted, ()
    sizes = [scene.width * scene.height for scene in scenes]
    chosen = sizes.index(max(sizes))
    if len(scenes) == 1:
        return chosen, ()
    return chosen, (
        f"it holds {len(scenes)} scenes ({listed}): scene {chosen} is read; --scene takes another",
    )
