"""All files that are drawn of one slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tcssa.features import open_bag
from tcssa.mil.heatmaps.drawing import draw_heatmap
from tcssa.mil.heatmaps.extremes import write_extremes
from tcssa.mil.heatmaps.overlay import write_overlay
from tcssa.mil.heatmaps.scales import Floats, ScaleName
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.mil.heatmaps.sources import Source
from tcssa.mil.heatmaps.tables import write_geojson
from tcssa.reports.slot_map import draw_slot_map
from tcssa.slides.image.places import Places, picture_of

GRID = "grid of patches"


@dataclass(frozen=True)
class Look:
    """Options of the pictures."""

    shown: tuple[str, ...] = ()
    """Classes or targets to draw the evidence for; none: those that the prediction rests on."""
    scale: ScaleName | None = None
    """Scale of all maps; None takes values for evidence and percentiles for attention."""
    same_scale: bool = False
    """Whether all slides share one scale."""
    crops: int = 8
    """Patches of each end to show; 0 for none."""


def draw_slide(
    out: Path,
    source: Source,
    slide_map: SlideMap,
    places: Places,
    look: Look,
    together: Mapping[str, Floats] | None,
) -> tuple[list[Path], bool]:
    """Draw one slide.

    Args:
        out: Folder of the heat maps.
        source: The slide.
        slide_map: Its evidence.
        places: Locations of its patches, in level-0 pixels.
        look: What is drawn, and how.
        together: Values of all slides by name, if they share one scale.

    Returns:
        The files, and whether the map is on a picture of the slide, not on the grid of patches.

    Raises:
        SlideError: The slide cannot be read.
    """
    slide_id, features = source.slide_id, source.bag.address
    picture, is_slide = picture_of(features, source.slide, places)
    # the origin of a grid of patches is its own corner, not the slide's
    drawn = places if is_slide else places.from_own_corner()
    names = list(look.shown) or slide_map.leading
    files = {
        "maps": out / "maps" / f"{slide_id}.png",
        "geojson": out / "geojson" / f"{slide_id}.geojson",
        "overlays": out / "overlays" / f"{slide_id}.ome.tif",
    }
    layers = slide_map.layers(names, look.scale, together)
    predicted = len(slide_map.evidence) > 1  # else there is one quantity, which says nothing
    title = f"{slide_id}, predicted: {', '.join(slide_map.leading)}" if predicted else slide_id
    shows = "slide" if is_slide else GRID
    draw_heatmap(files["maps"], picture, drawn, layers, title=title, shows=shows)
    write_geojson(files["geojson"], slide_map, places, names[0])
    write_overlay(files["overlays"], slide_map.values, places, _extent(source, places))
    if source.read_stored is not None:
        files["slots"] = out / "slots" / f"{slide_id}.png"
        first = source.read_stored().assignments[:, 0]
        draw_slot_map(
            files["slots"],
            picture.pixels,
            picture.scale,
            drawn.coords,
            drawn.side,
            first,
            title=f"{slide_id}, slots",
        )
    if source.slide is not None and look.crops:
        order = slide_map.order(names[0])
        ends = [order[: look.crops], order[: -look.crops - 1 : -1]]
        files["patches"] = out / "patches" / f"{slide_id}.jpg"
        write_extremes(files["patches"], source.slide, places, ends, slide_map.evidence[names[0]])
    return list(files.values()), is_slide


def _extent(source: Source, places: Places) -> tuple[float, float]:
    """Return width and height of level 0: as the features note it, else where patches end."""
    with open_bag(source.bag) as bag:
        noted = [bag.attributes.get(f"level0_{side}") for side in ("width", "height")]
    width, height = (places.coords.max(axis=0) + places.side).tolist()
    return float(noted[0] or width), float(noted[1] or height)
