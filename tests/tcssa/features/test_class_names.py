"""Names of classes: one spelling a class, and cells that name none."""

import pytest

from tcssa.features.class_names import ClassNames, MissingLabelError, UnusableLabelError


@pytest.mark.parametrize("cell", ["", "NA", "nan", "N/A", "NaN", "null", "None", "<NA>", "#N/A"])
def test_a_missing_word_is_never_a_class(cell: str) -> None:
    with pytest.raises(MissingLabelError):
        ClassNames(None, {}, ["a", cell])(cell)
    with pytest.raises(MissingLabelError):
        ClassNames(["a", "b"], {})(cell)


def test_a_missing_word_that_the_user_names_is_a_class() -> None:
    assert ClassNames(["None", "Present"], {})("none") == "None"
    assert ClassNames(None, {"NA": "not amplified"}, ["NA"])("NA") == "not amplified"


def test_whole_numbers_are_one_grade_however_they_are_written() -> None:
    read = ClassNames(None, {}, ["1.0", "1", "2.00", "1.0", "-3.0"])
    assert [read(cell) for cell in ("1.0", "1", "2.00", "-3.0")] == ["1", "1", "2", "-3"]
    assert ClassNames(["1", "2"], {})("2.0") == "2"
    assert ClassNames(["1.0"], {})("1") == "1.0"  # of a run made before
    assert ClassNames(None, {"0": "LUAD"}, ["0.0"])("0.0") == "LUAD"


@pytest.mark.parametrize("other", ["01", "1e0", "+1"])
def test_other_spellings_of_a_number_are_not_guessed(other: str) -> None:
    read = ClassNames(None, {}, ["1", "1", other])
    with pytest.raises(ValueError, match="stands elsewhere as '1'"):
        read(other)


def test_of_two_spellings_the_rarer_one_is_at_fault() -> None:
    cells = ["Tumour", "normal", "tumour", "tumour"]
    read = ClassNames(None, {}, cells)
    assert read("tumour") == "tumour"
    with pytest.raises(ValueError, match="'Tumour' stands elsewhere as 'tumour'"):
        read("Tumour")


def test_a_class_that_is_not_wanted_may_be_left_out() -> None:
    with pytest.raises(UnusableLabelError, match="label 'C' is none of A, B"):
        ClassNames(["A", "B"], {})("C")
