"""The cohort on disk: its slides, its table of labels, and carrying on where it stopped."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import openslide
import pytest

from tcssa.synthetic import (
    LABELS,
    DrawnSlide,
    SlideSpec,
    cohort_specs,
    compose_cohort,
    compose_new_slide,
    draw_slide,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    compose_cohort(folder, num_slides=3, seed=5)
    return folder


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a slide is drawn."""

    def refuse(spec: SlideSpec) -> DrawnSlide:
        raise AssertionError(f"slide {spec.index} was drawn again")

    monkeypatch.setattr("tcssa.synthetic.cohort.draw_slide", refuse)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def test_labels_name_every_slide_with_its_case(folder: Path) -> None:
    assert (folder / "labels.csv").read_text() == (
        "case_id,slide_id,label\n"
        "CASE-000,DEMO-000,gland-forming\n"
        "CASE-001,DEMO-001,solid-pleomorphic\n"
        "CASE-000,DEMO-002,gland-forming\n"
    )
    slides = sorted(path.name for path in (folder / "slides").iterdir())
    assert slides == [f"{row['slide_id']}.tif" for row in rows(folder)]


def test_slides_show_what_is_drawn_and_stay_small(folder: Path) -> None:
    spec = cohort_specs(3, seed=5)[1]
    path = folder / "slides" / "DEMO-001.tif"
    assert path.stat().st_size < 1_500_000
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (spec.width, spec.height)
        shown = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert np.abs(shown.astype(int) - draw_slide(spec).pixels).mean() < 4


def test_a_slide_that_is_there_is_not_drawn_again(folder: Path, no_drawing: None) -> None:
    seen: list[str] = []
    table = compose_cohort(folder, num_slides=3, seed=5, on_slide=seen.append)
    assert table == folder / "labels.csv"
    assert seen == ["DEMO-000", "DEMO-001", "DEMO-002"]


def test_what_is_missing_or_broken_is_drawn_again_to_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def watched(spec: SlideSpec) -> DrawnSlide:
        drawn.append(spec.index)
        return draw_slide(spec)

    monkeypatch.setattr("tcssa.synthetic.cohort.draw_slide", watched)
    missing, broken = (folder / "slides" / f"DEMO-00{index}.tif" for index in (0, 2))
    contents = [missing.read_bytes(), broken.read_bytes()]
    missing.unlink()
    broken.write_bytes(contents[1][:5000])
    compose_cohort(folder, num_slides=3, seed=5)
    assert sorted(drawn) == [0, 2]
    assert [missing.read_bytes(), broken.read_bytes()] == contents


def test_a_new_slide_is_of_a_patient_that_the_cohort_lacks(tmp_path: Path) -> None:
    path, spec = compose_new_slide(tmp_path, num_slides=14, seed=5)
    assert path == tmp_path / "DEMO-015.tif"  # 14 is the second slide of a patient of the cohort
    assert path.is_file()
    assert spec.case not in {one.case for one in cohort_specs(14, seed=5)}


def test_slides_of_another_seed_are_not_taken_for_this_one(folder: Path, no_drawing: None) -> None:
    with pytest.raises(AssertionError, match="slide 0 was drawn again"):
        compose_cohort(folder, num_slides=3, seed=6)


def test_a_larger_cohort_begins_with_the_smaller_one() -> None:
    assert cohort_specs(40, seed=3)[:24] == cohort_specs(24, seed=3)


@pytest.mark.parametrize("num_slides", [2, 7, 24, 30])
def test_classes_are_balanced(num_slides: int) -> None:
    labels = [spec.label for spec in cohort_specs(num_slides)]
    counts = [labels.count(label) for label in LABELS]
    assert abs(counts[0] - counts[1]) <= 1


def test_some_cases_have_two_slides_of_one_label() -> None:
    slides = defaultdict(list)
    for spec in cohort_specs(24):
        slides[spec.case].append(spec.label)
    pairs = [labels for labels in slides.values() if len(labels) == 2]
    assert max(len(labels) for labels in slides.values()) == 2
    assert {labels[0] for labels in pairs} == set(LABELS)
    assert all(labels[0] == labels[1] for labels in pairs)
    assert len(pairs) == 4
