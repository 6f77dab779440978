"""Label tables in the spellings of the field, and their faults."""

from pathlib import Path

import pytest
from shared_data import require_shared

from tcssa.errors import TableError
from tcssa.features import LabelledSlide, read_labels
from tcssa.features.tables import patient_of, slide_name


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    "text",
    [
        "case_id,slide_id,label\nc1,s1,LUAD\n",
        "PATIENT,FILENAME,label\nc1,s1.svs,LUAD\n",
        "slide_id\tcase_id\tlabel\ns1\tc1\tLUAD\n",
        "\ufeffslide_id;patient_id;label\nfolder/s1.ome.tif; c1 ; LUAD \n",
    ],
    ids=["clam", "stamp", "tsv", "excel"],
)
def test_spellings_of_the_field(tmp_path: Path, text: str) -> None:
    assert read_labels(table(tmp_path, text)) == [LabelledSlide("s1", "c1", "LUAD")]


def test_pandas_grades_and_a_named_column(tmp_path: Path) -> None:
    path = table(tmp_path, "image_id,isup_grade,gleason_score\na,3,4+3\n")
    assert read_labels(path) == [LabelledSlide("a", "a", "3", case_is_known=False)]
    assert read_labels(path, label_column="gleason_score")[0].label == "4+3"


def test_a_tcga_barcode_names_its_patient() -> None:
    barcode = "TCGA-55-A48Z-01Z-00-DX1.0867DC6A"
    assert patient_of(barcode) == "TCGA-55-A48Z"
    assert patient_of("LC-001c11") == "LC-001c11"


def test_the_references_table_of_nsclc() -> None:
    path = require_shared("splits/TC-SSA_nsclc_tcga_nsclc_dataset.csv")
    slides = read_labels(path, classes=["LUAD", "LUSC"], label_names={"0": "LUAD", "1": "LUSC"})
    assert len(slides) == 1052
    assert {slide.label for slide in slides} == {"LUAD", "LUSC"}
    assert all(slide.case_id == patient_of(slide.slide_id) for slide in slides)


def test_labels_match_whatever_their_case(tmp_path: Path) -> None:
    path = table(tmp_path, "slide_id,label\na, luad \nb,LUSC\n")
    assert [s.label for s in read_labels(path, classes=["LUAD", "LUSC"])] == ["LUAD", "LUSC"]


def test_all_faults_are_listed_with_their_line(tmp_path: Path) -> None:
    path = table(tmp_path, "slide_id,label\na,x\n,x\nb,\nc,z\na,y\n")
    with pytest.raises(TableError) as caught:
        read_labels(path, classes=["x", "y"])
    assert caught.value.faults == [
        "line 3: the slide_id is empty",
        "line 4: the label is empty",
        "line 5: label 'z' is none of x, y",
        "line 6: slide 'a' appears twice, with different content (line 2)",
    ]


@pytest.mark.parametrize(
    "column", ["Patient ID", "PatientID", "case_submitter_id", "bcr_patient_barcode", "SUBJECT"]
)
def test_patients_are_found_however_the_column_is_spelt(tmp_path: Path, column: str) -> None:
    path = table(tmp_path, f"{column},slide_id,label\nc1,a,x\nc1,b,y\n")
    assert [s.case_id for s in read_labels(path)] == ["c1", "c1"]


def test_a_named_patient_column_and_slides_without_one(tmp_path: Path) -> None:
    path = table(tmp_path, "who,slide_id,label\nc1,a,x\n,TCGA-55-A48Z-01Z,y\n")
    slides = read_labels(path, case_column="who")
    assert [(s.case_id, s.case_is_known) for s in slides] == [("c1", True), ("TCGA-55-A48Z", True)]
    assert [s.case_is_known for s in read_labels(path)] == [False, True]
    with pytest.raises(TableError, match="has no column 'whom'"):
        read_labels(path, case_column="whom")


def test_labels_that_differ_in_case_alone_are_a_fault_with_its_line(tmp_path: Path) -> None:
    path = table(tmp_path, "slide_id,label\na,B\n\nb,b\n")
    with pytest.raises(TableError, match="line 4: 'b' stands elsewhere as 'B'"):
        read_labels(path)
    path = table(tmp_path, "slide_id,label\na,Tumour\nb,tumour\nc,normal\nd,tumour\n")
    with pytest.raises(TableError) as caught:
        read_labels(path)
    assert caught.value.faults == ["line 2: 'Tumour' stands elsewhere as 'tumour'"]  # the odd one


def test_two_files_of_one_name_are_no_row_twice(tmp_path: Path) -> None:
    path = table(tmp_path, "slide_id,label\nx/S1.svs,a\nx/S1.svs,a\nS2,b\n")
    assert [slide.slide_id for slide in read_labels(path)] == ["S1", "S2"]
    path = table(tmp_path, "slide_id,label\nx/S1.svs,a\ny/S1.svs,a\n")
    with pytest.raises(TableError, match=r"line 3: 'y/S1.svs' has the slide_id of line 2: 'x/S1"):
        read_labels(path)


@pytest.mark.parametrize("other", ["a\u200b", "\uff41", "\xada"])
def test_labels_that_look_alike_are_no_two_classes(tmp_path: Path, other: str) -> None:
    path = table(tmp_path, f"slide_id,label\nS1,a\nS2,{other}\n")
    with pytest.raises(TableError, match=r"line 3: .* stands elsewhere as 'a'"):
        read_labels(path)


def test_a_label_is_no_text(tmp_path: Path) -> None:
    path = table(tmp_path, f"slide_id,label,note\nS1,a,{'x' * 140_000}\n")
    assert [slide.label for slide in read_labels(path)] == ["a"]
    path = table(tmp_path, f"slide_id,label\nS1,{'x' * 140_000}\n")
    with pytest.raises(TableError, match="line 2: the label has 140,000 characters"):
        read_labels(path)


def test_what_is_no_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="needs the columns slide_id and label, found: a, b"):
        read_labels(table(tmp_path, "a,b\n1,2\n"))
    with pytest.raises(TableError, match="empty"):
        read_labels(table(tmp_path, ""))
    with pytest.raises(TableError, match="there is no such file"):
        read_labels(tmp_path / "missing.csv")
    (tmp_path / "labels.csv").write_bytes(b"slide_id,label\nS1,\xff\x81\n")
    with pytest.raises(TableError, match="is not text in UTF-8"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/S1.svs", "S1"),
        ("C:\\slides\\S1.ndpi", "S1"),
        ("S1.ome.tiff", "S1"),
        ("TCGA-55.0867DC6A", "TCGA-55.0867DC6A"),
    ],
)
def test_slide_names(name: str, expected: str) -> None:
    assert slide_name(name) == expected
