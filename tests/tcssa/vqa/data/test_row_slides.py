"""The feature files of a row: its slides, all slides of its patient, merged or in order."""

from pathlib import Path

import pytest

from tcssa.errors import AmbiguousFeaturesError, RepeatedSlideError
from tcssa.vqa.data.row_slides import RowSlides, find_slides
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.settings import SeveralSlides

PATIENT = "TCGA-BH-A5IZ"
NAMES = [f"{PATIENT}-01Z-00-DX1", f"{PATIENT}-01Z-00-DX2", "S"]


def find(*named: str, several: SeveralSlides) -> RowSlides:
    index = SlideIndex([Path(f"{name}.h5") for name in NAMES], "features", several)
    return find_slides(named, index)


def test_slides_behind_each_other_keep_the_order_of_the_row() -> None:
    found = find("S", PATIENT, several="concat")
    assert found.name == f"S + {NAMES[0]} + {NAMES[1]}"
    assert [len(part) for part in found.parts] == [1, 1, 1]
    assert found.places([5, 2, 3]) == [5, 5]


def test_merged_slides_are_the_same_in_every_order() -> None:
    found = find("S", PATIENT, several="merge")
    assert found == find(PATIENT, "S", several="merge")
    assert [len(part) for part in found.parts] == [3]
    assert found.places([5]) == [5, 0]


def test_one_slide_is_itself_whatever_several_become() -> None:
    for several in ("error", "dx1", "merge", "concat"):
        assert find("S", several=several) == RowSlides(((Path("S.h5"),),))  # type: ignore[arg-type]


def test_a_patient_of_several_slides_is_refused_without_a_rule() -> None:
    with pytest.raises(AmbiguousFeaturesError) as caught:
        find(PATIENT, several="error")
    assert "merge or concat" in str(caught.value.hint)
    assert find(PATIENT, several="dx1").name == NAMES[0]


def test_a_slide_that_stands_there_by_its_patient_too_is_refused() -> None:
    with pytest.raises(RepeatedSlideError, match="twice"):
        find(PATIENT, NAMES[1], several="merge")
