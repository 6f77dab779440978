from pathlib import Path

import pytest
from dicom_files import MR_IMAGE, write_dicom

from tcssa.files.dicom import dicom_head, dicom_series


@pytest.mark.parametrize("implicit", [False, True])
def test_the_series_is_the_files_own_and_not_one_in_a_sequence(
    tmp_path: Path, implicit: bool
) -> None:
    head = dicom_head(write_dicom(tmp_path / "a.dcm", "1.2.3", implicit=implicit))
    assert head is not None
    assert (head.series, head.image_type[-1], head.is_slide) == ("1.2.3", "VOLUME", True)


def test_files_are_grouped_by_series_and_other_images_are_none(tmp_path: Path) -> None:
    files = [
        write_dicom(tmp_path / "a.dcm", "1"),
        write_dicom(tmp_path / "b.dcm", "2"),
        write_dicom(tmp_path / "c", "1"),
        write_dicom(tmp_path / "label.dcm", "1", kind="LABEL"),
        write_dicom(tmp_path / "mr.dcm", "3", sop_class=MR_IMAGE),
        tmp_path / "text.dcm",
    ]
    files[-1].write_text("no DICOM")
    assert dicom_series(files) == {"1": [files[0], files[2]], "2": [files[1]]}


def test_a_head_that_is_cut_short_is_no_error(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", "1.2.3")
    content = path.read_bytes()
    for size in range(128, len(content), 7):
        path.write_bytes(content[:size])
        dicom_head(path)
