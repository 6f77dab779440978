"""The pictures of the page of predictions: of the slides looked at first maps, else thumbnails.

Maps are few: they take no longer than the prediction of all slides, and a moment at least.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from tcssa.errors import DiskFullError, SlideError, TcssaError
from tcssa.features import BagRef
from tcssa.files import atomic
from tcssa.files.picture import read_rgb
from tcssa.mil.prediction.slide_model import GivenSlide
from tcssa.reporter import Reporter
from tcssa.reports.html_page import Picture
from tcssa.slides.image.places import picture_of, read_places

MOST_MAPS = 24
MAPS_FOLDER = "maps"
PICTURE_PX = 320
_AT_LEAST = 250_000
"""Classified patches that maps may always take: seconds on a CPU."""


class MapMaker(Protocol):
    """Draws small maps of slides."""

    shows: str
    """What its maps show, in sentences for the page."""
    passes: int
    """About how many classifications of a slide its map takes as long as."""

    def draw(self, given: GivenSlide) -> NDArray[Any] | None:
        """Return the slide's map, RGB [h, w, 3]; None if it is not known where its patches lie.

        Args:
            given: A slide, or a patient of a single one.

        Raises:
            TcssaError: The features, or the picture of the slide, cannot be read.
        """


class SlidePictures:
    """The pictures of one page; they are asked for in the order of the page.

    Args:
        out: Folder of the predictions; it keeps the maps, so that they are drawn once.
        slides: The slides, or patients, that are predicted.
        num_models: Models that classified each slide.
        maker: Draws the maps; None leaves the grid of the patches where there is no thumbnail.
        reporter: Warned of pictures that cannot be made.
    """

    def __init__(
        self,
        out: Path,
        slides: Sequence[GivenSlide],
        num_models: int,
        maker: MapMaker | None,
        reporter: Reporter,
    ) -> None:
        self.maker = maker
        self.num_maps = 0
        """Slides with a map so far."""
        self.num_of_several = sum(len(given.refs) > 1 for given in slides)
        """Patients of several slides, which have no places in common: they have no map."""
        self.without: list[str] = []
        """Slides for which it is not known where their patches lie."""
        self._out, self._reporter = out, reporter
        self._slides = {ref.slide_id: (given, ref) for given in slides for ref in given.refs}
        self._left = max(_AT_LEAST, num_models * sum(each.slide.num_patches for each in slides))
        self._tried = 0

    def __call__(self, slide_id: str) -> Picture | None:
        """Return the picture of a slide; None if it has none."""
        given, ref = self._slides[slide_id]
        if self.maker is None or len(given.refs) > 1:
            shown = thumbnail(ref, self._reporter)
            return shown or (self._grid(ref) if self._may_draw(given, 0) else None)
        found = self._map(given, self.maker) if self._may_draw(given, self.maker.passes) else None
        return found or thumbnail(ref, self._reporter)

    def _may_draw(self, given: GivenSlide, passes: int) -> bool:
        cost = passes * given.slide.num_patches
        if self._tried == MOST_MAPS or (self._tried and cost > self._left):
            return False
        self._tried += 1
        self._left -= cost
        return True

    def _map(self, given: GivenSlide, maker: MapMaker) -> Picture | None:
        path, slide_id = map_file(self._out, given.slide.slide_id), given.refs[0].slide_id
        try:
            if not path.is_file():
                pixels = maker.draw(given)
                if pixels is None:
                    self.without.append(slide_id)
                    return None
                atomic.write_bytes(path, _jpeg(pixels))
            self.num_maps += 1
            return _embedded(path.read_bytes())
        except DiskFullError:
            raise
        except TcssaError as error:
            self._reporter.warn(f"the page shows no map of {slide_id}: {error}")
            return None

    def _grid(self, ref: BagRef) -> Picture | None:
        places = read_places(ref.address)
        if isinstance(places, str):
            self.without.append(ref.slide_id)
            return None
        return _embedded(_jpeg(picture_of(ref.address, None, places)[0].pixels))


def map_file(out: Path, slide_id: str) -> Path:
    """Return the path of a slide's small map.

    Args:
        out: Folder of the predictions.
        slide_id: The slide, or the patient of a single one.
    """
    return out / MAPS_FOLDER / f"{slide_id}.jpg"


def thumbnail(bag: BagRef, reporter: Reporter) -> Picture | None:
    """Return a small picture of a slide, from the job folder that its features lie in.

    Args:
        bag: The feature file.
        reporter: Warned of a thumbnail that is damaged.
    """
    above = bag.path.resolve().parents
    path = above[min(2, len(above) - 1)] / "thumbnails" / f"{bag.slide_id}.jpg"
    if not path.is_file():
        return None
    try:
        return _embedded(_jpeg(read_rgb(path, SlideError)))
    except SlideError as error:
        reporter.warn(f"the page shows no picture of {bag.slide_id}: {error}")
        return None


def _jpeg(pixels: NDArray[Any]) -> bytes:
    """Return a picture as JPEG, small enough for hundreds on a page; maps are two in a row."""
    from PIL import Image

    picture, content = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((2 * PICTURE_PX, PICTURE_PX))
    picture.save(content, "JPEG", quality=80)
    return content.getvalue()


def _embedded(jpeg: bytes) -> Picture:
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}")
