import json
import os
from pathlib import Path

import pytest
from dicom_files import MR_IMAGE, write_dicom
from heard import Heard
from slide_files import stained, write_slide, write_zarr

from tcssa.errors import SlideError, UsageError
from tcssa.slides import ExtractSettings, extract, find_slides
from tcssa.slides.finding import is_slide_folder
from tcssa.slides.image.slide import Slide
from tcssa.slides.manifest import SlideFile, are_slides


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, **options: object) -> list[str]:
    return [slide.slide_id for slide in find_slides([folder], **options)]  # type: ignore[arg-type]


def test_linked_folders_are_searched_and_hidden_ones_are_not(tmp_path: Path) -> None:
    touch(tmp_path / "real/R.tif", tmp_path / "s/S.tif", tmp_path / "s/.snapshot/S.tif",
          tmp_path / "s/.Trash-0/deleted.tif", tmp_path / "s/#recycle/old.svs")  # fmt: skip
    (tmp_path / "s/linked").symlink_to("../real")
    heard = Heard()
    assert found(tmp_path / "s", reporter=heard) == ["S", "R"]
    assert heard.warnings == []
    (note,) = heard.notes
    assert "3 hidden folders" in note
    assert ".Trash-0" in note


def test_links_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "s/sub/S.tif")
    (tmp_path / "s/aaa").symlink_to("sub")
    (tmp_path / "s/sub/up").symlink_to("..")
    (tmp_path / "s/self").symlink_to("self")
    heard = Heard()
    (slide,) = find_slides([tmp_path / "s"], reporter=heard)
    assert slide.path == tmp_path / "s/sub/S.tif"  # under its own folder, not the link's
    assert "2 links to folders" in heard.notes[0]


def test_a_link_that_leads_to_itself_or_nowhere_is_a_failed_slide(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    write_slide(folder / "good.tif", stained(300, 300))
    (folder / "lost.tif").symlink_to("nowhere.tif")
    (folder / "round.tif").symlink_to("round.tif")
    settings = ExtractSettings(device="cpu", patch_size=128)
    report = extract(find_slides([folder]), tmp_path / "job", settings)
    assert [(slide.slide_id, slide.status) for slide in report.slides] == [
        ("good", "done"), ("lost", "failed"), ("round", "failed"),
    ]  # fmt: skip


def test_what_may_not_be_read_fails_by_name_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    (folder / "closed").mkdir(parents=True)
    for name in ("a.tif", "b.tif", "closed/c.tif"):
        write_slide(folder / name, stained(300, 300))
    true_open, true_list, true_scan = Path.open, Path.iterdir, os.scandir

    def no_open(path: Path, *given: object, **named: object) -> object:
        if path.name == "b.tif":
            raise PermissionError(13, "Permission denied")
        return true_open(path, *given, **named)  # type: ignore[call-overload]

    def no_list(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return true_list(path)

    def no_scan(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return true_scan(path)

    monkeypatch.setattr(Path, "open", no_open)  # root may read everything
    monkeypatch.setattr(Path, "iterdir", no_list)
    monkeypatch.setattr("tcssa.slides.finding.os.scandir", no_scan)
    settings = ExtractSettings(device="cpu", patch_size=128)
    report = extract(find_slides([folder]), tmp_path / "job", settings)
    results = {slide.slide_id: (slide.status, slide.reason or "") for slide in report.slides}
    assert results["a"][0] == "done"
    for name in ("b", "closed"):
        assert results[name][0] == "failed"
        assert "Permission denied" in results[name][1]
    assert "closed" in (tmp_path / "job/failures.csv").read_text()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_odd_names_fail_by_name_or_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    good = write_slide(folder / "good.tif", stained(300, 300)).read_bytes()
    names = [
        b"M\xfcller.tif",
        b"L" * 235 + b".tif",
        b"X" * 245 + b".tif",
        "ä".encode() * 123 + b".tif",
    ]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(good)
    settings = ExtractSettings(device="cpu", patch_size=128)
    report = extract(find_slides([folder]), tmp_path / "job", settings)
    results = {slide.slide_id[:3]: (slide.status, slide.reason or "") for slide in report.slides}
    assert results["goo"][0] == results["LLL"][0] == "done"
    assert results["M\N{REPLACEMENT CHARACTER}l"][0] == "failed"
    assert "not text in UTF-8" in results["M\N{REPLACEMENT CHARACTER}l"][1]
    for name in ("XXX", "äää"):
        assert results[name][0] == "failed"
        assert "bytes, more than 240" in results[name][1]
    again = extract(find_slides([folder]), tmp_path / "job", settings)
    assert (again.count("skipped"), again.count("failed")) == (2, 3)
    assert not [path for path in (tmp_path / "job").rglob(".*") if path.is_file()]


def test_each_dicom_series_of_a_folder_is_a_slide(tmp_path: Path) -> None:
    for name, series in [("a1", "1"), ("a2", "1"), ("b1", "2"), ("b2", "2")]:
        write_dicom(tmp_path / "flat" / f"{name}.dcm", series)
    assert found(tmp_path / "flat") == ["a1", "b1"]
    assert not is_slide_folder(tmp_path / "flat")
    with pytest.raises(
        SlideError, match=r"2 DICOM series, each a slide, beginning with a1\.dcm, b1"
    ):
        Slide(tmp_path / "flat", "openslide")


def test_a_dicom_series_alone_is_called_as_its_folder(tmp_path: Path) -> None:
    write_dicom(tmp_path / "case.1/a.dcm", "1")
    write_dicom(tmp_path / "case.1/b", "1")
    write_dicom(tmp_path / "case.1/label.dcm", "1", kind="LABEL")
    touch(tmp_path / "case.1/below/S.svs")
    heard = Heard()
    assert found(tmp_path, reporter=heard) == ["case.1", "S"]
    assert "1 DICOM files, which are no slide images" in heard.warnings[0]
    assert "label.dcm" in heard.warnings[0]
    assert is_slide_folder(tmp_path / "case.1")


def test_other_slides_beside_dicom_files_are_found_and_what_is_none_is_named(
    tmp_path: Path,
) -> None:
    write_dicom(tmp_path / "B.dcm", "1")
    write_dicom(tmp_path / "mr.dcm", "2", sop_class=MR_IMAGE)
    touch(tmp_path / "A.tif", tmp_path / "empty.dcm")
    heard = Heard()
    assert found(tmp_path, reporter=heard) == ["A", "B"]
    (warning,) = heard.warnings
    assert "2 DICOM files, which are no slide images" in warning
    assert "empty.dcm" in warning
    assert "mr.dcm" in warning


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_a_zarr_store_are_known_by_their_metadata(tmp_path: Path, version: str) -> None:
    pytest.importorskip("zarr")
    pixels = stained(300, 300)
    store = tmp_path / "sd.zarr"
    write_zarr(store / "images/he", [pixels], mpp=0.5, version=version)
    write_zarr(store / "images/wsi_thumbnail", [pixels[::4, ::4]], mpp=0.5, version=version)
    write_zarr(store / "labels/cells", [pixels], mpp=0.5, version=version)
    metadata = store / "labels/cells" / ("zarr.json" if version == "0.5" else ".zattrs")
    content = json.loads(metadata.read_text())
    holder = content["attributes"]["ome"] if version == "0.5" else content
    holder["image-label"] = {}
    metadata.write_text(json.dumps(content))
    heard = Heard()
    (slide,) = find_slides([tmp_path], reporter=heard)
    assert (slide.path, slide.slide_id) == (store / "images/he", "sd")
    assert "2 images of OME-Zarr stores are labels" in heard.warnings[0]
    assert found(store) == ["sd"]
    assert found(store / "images/he") == ["he"]
    assert are_slides(store / "images/he")
    with Slide(slide.path) as opened:
        assert opened.dimensions == (300, 300)
    write_zarr(store / "images/other", [pixels], mpp=0.5, version=version)
    assert found(tmp_path) == ["sd__he", "sd__other"]


def test_a_folder_of_any_name_is_the_slide_that_bioformats2raw_wrote(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    pixels = stained(300, 310)
    write_zarr(tmp_path / "s/any.name/0", [stained(80, 80)], mpp=0.5)
    write_zarr(tmp_path / "s/any.name/1", [pixels], mpp=0.5)
    (tmp_path / "s/any.name/.zattrs").write_text('{"bioformats2raw.layout": 3}')
    touch(tmp_path / "s/any.name/beside.tif")
    slide, beside = find_slides([tmp_path / "s"])
    assert (slide.slide_id, beside.slide_id) == ("any.name", "beside")
    with Slide(slide.path) as opened:
        assert opened.dimensions == (310, 300)
        assert "2 scenes" in opened.remarks[0]
    with Slide(slide.path, scene=0) as opened:
        assert opened.dimensions == (80, 80)


def test_a_store_without_metadata_fails_by_name(tmp_path: Path) -> None:
    touch(tmp_path / "s/d.ome.zarr/0/x.tif")
    (slide,) = find_slides([tmp_path / "s"])
    assert slide.slide_id == "d"
    with pytest.raises(SlideError):
        Slide(slide.path)


def test_a_name_that_repeats_is_still_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a/S.tif", tmp_path / "b/S.svs")
    with pytest.raises(UsageError, match="two slides are called 'S'"):
        find_slides([tmp_path])
    assert found(tmp_path, names="path") == ["a__S", "b__S"]


def test_a_usable_name_is_required_of_slides_by_hand_too(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="takes 300 bytes"):
        SlideFile(tmp_path / "a.tif", "x" * 300).require_usable_name()
