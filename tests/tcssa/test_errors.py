"""Messages of errors: one line that a terminal shows, with what the user needs in it."""

from pathlib import Path

import pytest

from tcssa.errors import (
    MAX_CHARACTERS,
    FileError,
    NonFiniteFeatureError,
    TableError,
    TcssaError,
    UnknownNameError,
    counted,
)


def test_a_message_is_one_printable_line_and_the_whole_is_a_note() -> None:
    message = "read \x1b[31mred\x07\n\tand\r\n" + "long " * 100
    error = TcssaError(message, hint="two\nlines")
    assert str(error).startswith("read �[31mred� and long long")
    assert len(str(error)) == MAX_CHARACTERS
    assert str(error).isprintable()
    assert error.__notes__ == [message]
    assert error.hint == "two lines"
    assert not hasattr(TcssaError("short"), "__notes__")


def test_the_nearest_name_is_offered_and_where_none_is_near_all_are() -> None:
    known = ["transmil", "abmil", "clam"]
    assert UnknownNameError("method", "abmli", known).hint == "did you mean abmil?"
    assert UnknownNameError("method", "qqqq", known).hint == "known: abmil, clam, transmil"


def test_a_long_path_is_shortened_at_its_front_so_that_the_reason_is_seen() -> None:
    path = Path("/" + "folder/" * 60) / "slide.h5"
    error = FileError(path, "was not written to its end")
    assert str(error).startswith("…")
    assert str(error).endswith("/slide.h5: was not written to its end")
    assert error.path == path


def test_five_faults_of_a_table_are_said_and_the_rest_are_counted() -> None:
    faults = [f"line {n}: bad" for n in range(2, 9)]
    error = TableError("labels.csv", faults)
    assert str(error).endswith("line 6: bad; and 2 more")
    assert error.faults == faults
    assert str(TableError("labels.csv", faults[:5])).endswith("line 6: bad")


def test_a_bad_row_is_named_by_its_bag_its_file_or_alone() -> None:
    said = "the features of row 7 are not finite (NaN or infinity)"
    assert str(NonFiniteFeatureError(7)) == said
    assert str(NonFiniteFeatureError(7, bag=0)) == f"bag 0: {said}"
    assert str(NonFiniteFeatureError(7, where="s1.h5")) == f"s1.h5: {said}"


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "slide", "1 slide"),
        (0, "slide", "0 slides"),
        (2400, "patch", "2,400 patches"),
        (2, "class", "2 classes"),
    ],
)
def test_a_count_has_the_form_of_its_noun(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
