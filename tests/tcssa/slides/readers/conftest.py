from pathlib import Path

import cv2
import numpy as np
import pytest
from slide_files import Pixels

from tcssa.slides.image.slide import Slide


@pytest.fixture(scope="session")
def levels(cmu: Path) -> list[Pixels]:
    """A real region, and the same at a half and at a quarter."""
    with Slide(cmu) as slide:
        first = slide.read_level(700, 800, 0, 1000, 904)
    found = [first]
    for _ in range(2):
        height, width = found[-1].shape[:2]
        half = cv2.resize(found[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        found.append(np.asarray(half, np.uint8))
    return found
