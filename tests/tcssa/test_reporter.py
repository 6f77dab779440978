"""The reporters that say nothing, and that write to stderr."""

import pytest

from tcssa.reporter import Printed, Reporter, Silent


def work(reporter: Reporter) -> int:
    with reporter.task("counting", 3, "slides") as task:
        for number in range(3):
            task.describe(f"slide {number}")
            task.advance()
        reporter.note("half done")
        reporter.warn("one slide is blurred")
    reporter.warn("one slide is empty")
    return number


def test_warnings_are_kept_in_order_and_remarks_are_not() -> None:
    reporter = Silent()
    assert work(reporter) == 2
    assert reporter.warnings == ["one slide is blurred", "one slide is empty"]


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    work(Silent())
    assert capsys.readouterr() == ("", "")


def test_an_error_within_a_task_is_the_callers() -> None:
    with pytest.raises(KeyError, match="lost"), Silent().task("reading", None, "slides"):
        raise KeyError("lost")


def test_each_reporter_has_warnings_of_its_own() -> None:
    first, second = Silent(), Silent()
    first.warn("mine")
    assert second.warnings == []


def test_what_is_printed_is_kept_too(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Printed()
    work(reporter)
    assert reporter.warnings == ["one slide is blurred", "one slide is empty"]
    said = "half done\nwarning: one slide is blurred\nwarning: one slide is empty\n"
    assert capsys.readouterr() == ("", said)
