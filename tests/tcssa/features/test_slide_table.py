"""Tables of slides: which columns are read, what is told of it, and patients beside slides."""

from pathlib import Path

import pytest

from tcssa.errors import TableError
from tcssa.features.labels import read_classes
from tcssa.features.slide_table import SlideTable


def table(tmp_path: Path, text: str, name: str = "labels.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def classes_of(slides: SlideTable, *classes: str, skip: bool = False) -> dict[str, str]:
    found = read_classes(slides, None, classes or None, {}, skip_missing=skip)
    return {slide.slide_id: slide.label for slide in found.slides} | found.left_out


def test_columns_of_another_name_and_among_several_are_told(tmp_path: Path) -> None:
    text = "FILENAME,patient,PATIENT ID,isup_grade,class\nS1.svs,x,P1,0,a\nS2.svs,y,P2,1,b\n"
    slides = SlideTable.read(table(tmp_path, text))
    assert classes_of(slides) == {"S1": "0", "S2": "1"}
    assert slides.readings == [
        "labels.csv: slide_id from 'FILENAME', case_id from 'PATIENT ID' (not 'patient'), "
        "label from 'isup_grade' (not 'class')"
    ]
    plain = SlideTable.read(table(tmp_path, "case_id,Slide ID,label\nP1,S1,a\nP2,S2,b\n"))
    assert classes_of(plain) == {"S1": "a", "S2": "b"}
    assert plain.readings == []


def test_the_column_of_slides_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "specimen,label\nS1,a\nS2,b\n")
    assert classes_of(SlideTable.read(path, slide_column="Specimen")) == {"S1": "a", "S2": "b"}
    with pytest.raises(TableError, match="needs the columns slide_id and label") as caught:
        classes_of(SlideTable.read(path))
    assert "--slide-column" in str(caught.value.hint)
    assert "--slide-table" in str(caught.value.hint)
    with pytest.raises(TableError, match="has no column 'scan'"):
        SlideTable.read(path, slide_column="scan")


def test_an_unknown_patient_is_not_a_patient_whom_slides_share(tmp_path: Path) -> None:
    path = table(tmp_path, "case_id,slide_id,site,label\nNA,S1,nan,a\nNA,S2,,b\nP3,S3,x,b\n")
    found = read_classes(SlideTable.read(path), None, None, {})
    assert [(s.case_id, s.case_is_known, s.site) for s in found.slides] == [
        ("S1", False, None),
        ("S2", False, None),
        ("P3", True, "x"),
    ]


def test_slides_without_a_label_or_of_another_class_are_left_out_when_asked(
    tmp_path: Path,
) -> None:
    path = table(tmp_path, "slide_id,label\nS1,A\nS2,NA\nS3,C\n\nS4,\nS5,B\n")
    with pytest.raises(TableError) as caught:
        classes_of(SlideTable.read(path), "A", "B")
    assert caught.value.faults == [
        "line 3: the label is missing ('NA')",
        "line 4: label 'C' is none of A, B",
        "line 6: the label is empty",
    ]
    assert "--skip-missing" in str(caught.value.hint)
    assert classes_of(SlideTable.read(path), "A", "B", skip=True) == {
        "S1": "A",
        "S2": "the label is missing ('NA')",
        "S3": "label 'C' is none of A, B",
        "S4": "the label is empty",
        "S5": "B",
    }


def test_a_slide_once_with_and_once_without_a_label_has_two_readings(tmp_path: Path) -> None:
    path = table(tmp_path, "slide_id,label\nS1,A\nS1,\nS2,B\n")
    with pytest.raises(TableError, match="'S1' appears twice, once without a label"):
        classes_of(SlideTable.read(path), skip=True)


PATIENTS = "PATIENT,label,age\nP1,a,60\nP2,b,NA\nP3,a,70\n"
SLIDES = "FILENAME,PATIENT\nS2.h5,P2\nS1b.h5,P1\nS1a.h5,P1\n"


def test_patients_are_joined_with_their_slides(tmp_path: Path) -> None:
    patients = table(tmp_path, PATIENTS, "clini.csv")
    slides = table(tmp_path, SLIDES, "slide.csv")
    joined = SlideTable.read(patients, slide_table=slides)
    found = read_classes(joined, None, None, {})
    assert {(s.slide_id, s.case_id, s.label) for s in found.slides} == {
        ("S1a", "P1", "a"),
        ("S1b", "P1", "a"),
        ("S2", "P2", "b"),
    }
    assert joined.readings[0] == (
        "2 patients of clini.csv with 3 slides of slide.csv; no slide of 1 patient: P3"
    )


def test_the_line_of_the_patient_is_named(tmp_path: Path) -> None:
    patients = table(tmp_path, PATIENTS.replace("P2,b", "P2,"), "clini.csv")
    slides = table(tmp_path, SLIDES, "slide.csv")
    with pytest.raises(TableError) as caught:
        classes_of(SlideTable.read(patients, slide_table=slides))
    assert caught.value.path == patients
    assert caught.value.faults == ["line 3 (slide in line 2 of slide.csv): the label is empty"]


def test_slides_of_unknown_patients_are_named_or_left_out(tmp_path: Path) -> None:
    patients = table(tmp_path, PATIENTS, "clini.csv")
    slides = table(tmp_path, SLIDES + "S9.h5,P9\n", "slide.csv")
    with pytest.raises(TableError, match=r"S9: patient 'P9' is not in clini\.csv"):
        classes_of(SlideTable.read(patients, slide_table=slides))
    read = classes_of(SlideTable.read(patients, slide_table=slides), skip=True)
    assert read["S9"] == "patient 'P9' is not in clini.csv"
    assert len(read) == 4


@pytest.mark.parametrize(
    ("patients", "slides", "reason"),
    [
        (PATIENTS + "P1,b,60\n", SLIDES, r"clini\.csv: line 5: patient 'P1' differs from line 2"),
        (PATIENTS + "NA,b,60\n", SLIDES, r"clini\.csv: line 5: names no patient"),
        (PATIENTS, SLIDES + "S7,\n", r"slide\.csv: line 5: names no patient"),
        (PATIENTS, "FILENAME,PATIENT\nS1,Q1\n", "shares no patient .* nearest: 'Q1' and 'P1'"),
        (PATIENTS, "PATIENT\nP1\n", r"slide\.csv: has no column slide_id"),
        ("label\na\n", SLIDES, r"clini\.csv: has no column case_id"),
        ("PATIENT,FILENAME,label\nP1,S1,a\n", SLIDES, "names slides itself, in the column 'FILE"),
        (PATIENTS, "FILENAME,PATIENT,age\nS1,P1,61\n", r"age is '61', and '60' in clini\.csv"),
    ],
)
def test_two_tables_that_do_not_fit_are_refused(
    tmp_path: Path, patients: str, slides: str, reason: str
) -> None:
    of_patients = table(tmp_path, patients, "clini.csv")
    of_slides = table(tmp_path, slides, "slide.csv")
    with pytest.raises(TableError, match=reason):
        classes_of(SlideTable.read(of_patients, slide_table=of_slides))
