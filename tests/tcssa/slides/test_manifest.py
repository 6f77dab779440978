from pathlib import Path

import pytest
from dicom_files import write_dicom

from tcssa.errors import MissingDataError, TableError, UsageError
from tcssa.slides.manifest import SlideFile, find_slides, read_manifest, read_resolutions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.svs", "a.tiff", "sub/c.ome.tif", "notes.txt", "._a.tiff"):
        path = tmp_path / "slides" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "slides"


def test_a_folder_stands_for_its_slides_sorted(folder: Path) -> None:
    assert [slide.slide_id for slide in find_slides([folder])] == ["a", "b", "c"]


def test_a_file_given_twice_is_read_once(folder: Path) -> None:
    slides = find_slides([folder / "b.svs", folder])
    assert [slide.slide_id for slide in slides] == ["b", "a", "c"]


def test_two_slides_of_one_name_are_refused_with_both_paths(folder: Path) -> None:
    (folder / "sub" / "B.tif").touch()
    with pytest.raises(UsageError, match=r"b\.svs and .*sub/B\.tif|B\.tif and .*b\.svs"):
        find_slides([folder])


def test_a_missing_path_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        find_slides([tmp_path / "nowhere"])
    with pytest.raises(MissingDataError, match="no slides"):
        find_slides([tmp_path])


@pytest.mark.parametrize(
    "header",
    ["wsi,mpp", "image_path,spacing_at_level_0", "path,mpp", "slide,MPP", "filename,mpp"],
)
def test_manifests_in_every_spelling(folder: Path, header: str) -> None:
    table = folder / "list.csv"
    table.write_text(f"{header}\nb.svs,0.25\nsub/c.ome.tif,\n")
    assert read_manifest(table) == [
        SlideFile(folder / "b.svs", "b", 0.25),
        SlideFile(folder / "sub/c.ome.tif", "c", None),
    ]


def test_a_manifest_may_name_its_slides(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("sample_id,image_path,mask_path\nfirst,b.svs,\n,a.tiff,\n")
    assert [slide.slide_id for slide in read_manifest(table)] == ["first", "a"]


def test_relative_paths_are_looked_for_in_the_given_folders_too(
    folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "elsewhere" / "list.csv"
    table.parent.mkdir()
    table.write_text("wsi,mpp\nb.svs,0.3\n")
    slides = find_slides([folder], table)  # beside a manifest the folder is no list of slides
    assert slides == [SlideFile(folder / "b.svs", "b", 0.3)]


def test_a_manifests_resolution_goes_with_a_slide_that_is_also_given(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("wsi,mpp\nb.svs,0.3\n")
    slides = find_slides([folder / "a.tiff", folder / "b.svs"], table)
    assert {slide.slide_id: slide.mpp for slide in slides} == {"b": 0.3, "a": None}


def test_all_faults_of_a_manifest_are_listed_with_their_line(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text(
        "wsi,mpp,slide_id\nb.svs,fast,\nnone.svs,0.5,\n,0.5,\nb.svs,352,\na.tiff,,../up\n"
    )
    with pytest.raises(TableError) as caught:
        read_manifest(table)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "line 2", "line 3", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert Path(caught.value.path) == table


def test_lines_of_a_manifest_are_those_of_the_file(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text(
        f"wsi,mpp\n\nb.svs,0.5\n\n\nnone.svs,\n{'x' * 300},\nb.svs,1_0\na.tiff,\uff11\n"
    )
    with pytest.raises(TableError) as caught:
        read_manifest(table)
    first, second, third, fourth = caught.value.faults
    assert first == "line 6: there is no file 'none.svs'"
    assert second.startswith("line 7: cannot be looked up")
    assert (third, fourth) == (
        "line 8: mpp '1_0' is no number",
        "line 9: mpp '\uff11' is no number",
    )


def test_a_slide_has_one_name_and_one_resolution(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("wsi,mpp\nb.svs,0.5\nb.svs,0.5\n")
    assert read_manifest(table) == [SlideFile(folder / "b.svs", "b", 0.5)]
    table.write_text("wsi,mpp\nb.svs,0.5\nb.svs,0.25\n")
    with pytest.raises(TableError, match=r"line 3: 'b\.svs' appears twice, with"):
        read_manifest(table)
    with pytest.raises(TableError, match=r"line 3: 'b' appears twice, .* \(line 2\)"):
        read_resolutions(table)
    table.write_text("wsi,mpp\nb.svs,0.5\n,\n\n./b.svs,0.25\n")
    with pytest.raises(TableError, match=r"line 5: '\./b\.svs' appears twice, .* \(line 2\)"):
        read_manifest(table)
    table.write_text("wsi,slide_id,mpp\nb.svs,NA,N/A\n")
    assert read_manifest(table) == [SlideFile(folder / "b.svs", "b", None)]
    table.write_text("slide_id,mpp\n,0.5\n")
    with pytest.raises(TableError, match="line 2: names no slide"):
        read_resolutions(table)


def test_a_manifest_without_paths_names_what_it_needs(folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("case,mpp\nb,0.5\n")
    with pytest.raises(TableError, match="needs a column wsi"):
        read_manifest(table)


def test_folders_that_are_slides_are_found_and_named(folder: Path) -> None:
    for name in ("d.ome.zarr/0/x.tif", "thumbnail.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("1", "2"):
        write_dicom(folder / f"series.1/{name}.dcm", "1.2.3")
    assert [slide.slide_id for slide in find_slides([folder])] == ["a", "b", "d", "series.1", "c"]
    assert [slide.slide_id for slide in find_slides([folder / "series.1"])] == ["series.1"]
    assert [slide.slide_id for slide in find_slides([folder / "thumbnail.png"])] == ["thumbnail"]
    table = folder / "list.csv"
    table.write_text("wsi\nd.ome.zarr\nseries.1\n")
    assert [slide.slide_id for slide in read_manifest(table)] == ["d", "series.1"]


def test_a_folder_of_several_slides_is_no_row_of_a_manifest(folder: Path) -> None:
    for name in ("1", "2"):
        write_dicom(folder / f"flat/{name}.dcm", name)
    table = folder / "list.csv"
    table.write_text("wsi\nflat\nflat/1.dcm\n")
    with pytest.raises(TableError, match="line 2: 'flat' is a folder that is no slide, or holds"):
        read_manifest(table)
