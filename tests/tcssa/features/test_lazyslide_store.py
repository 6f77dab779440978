"""Zarr folders that hold features, and those that are slides."""

import shutil
from pathlib import Path

import pytest
from factories import write_bag
from lazyslide_stores import write_image, write_store

from tcssa.errors import UsageError
from tcssa.features import find_bags
from tcssa.features.lazyslide_store import is_lazyslide, is_store
from tcssa.slides.manifest import are_slides, find_slides

pytest.importorskip("zarr")
pytest.importorskip("pyarrow")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_image_is_told_by_its_metadata_whatever_its_name(
    tmp_path: Path, zarr_format: int
) -> None:
    image = write_image(tmp_path / "s.zarr", zarr_format)
    assert (is_store(image), is_lazyslide(image), are_slides(image)) == (False, False, True)
    series = write_image(tmp_path / "t.zarr/0", zarr_format).parent  # as bioformats2raw writes
    assert (is_store(series), are_slides(series)) == (False, True)
    assert [slide.slide_id for slide in find_slides([tmp_path])] == ["s", "t"]


def test_a_store_of_spatialdata_with_an_image_is_a_slide_unless_it_holds_features(
    tmp_path: Path,
) -> None:
    store = write_store(tmp_path / "s.zarr", model="uni")
    write_image(store / "images/he_image")
    assert is_lazyslide(store)
    (store / "tables/uni_tiles").rename(store / "tables/table")  # cells, not tiles
    assert (is_store(store), is_lazyslide(store), are_slides(store)) == (False, False, True)


def test_a_store_without_features_yet_is_no_slide(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s.zarr")
    shutil.rmtree(store / "tables")
    assert (is_store(store), is_lazyslide(store), are_slides(store)) == (True, True, False)


def test_stores_beside_slides_are_none_of_them(tmp_path: Path) -> None:
    write_store(tmp_path / "s.zarr")
    (tmp_path / "s.svs").touch()
    assert [slide.path.name for slide in find_slides([tmp_path])] == ["s.svs"]
    assert [bag.path.name for bag in find_bags([tmp_path])] == ["s.zarr"]


@pytest.mark.parametrize("features", ["s.zarr", "s.h5", "s.pt", "job/20x/features_uni/s.h5"])
def test_a_folder_of_slides_and_features_is_refused_with_both(
    tmp_path: Path, features: str
) -> None:
    (tmp_path / "a.svs").touch()
    path = tmp_path / features
    if path.suffix == ".zarr":
        write_store(path)
    else:
        write_bag(path)
    with pytest.raises(UsageError, match=rf"holds slides \(a\.svs\) and features \({features}\)"):
        are_slides(tmp_path)
