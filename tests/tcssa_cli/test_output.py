"""Printed failures, and the bar of a task."""

import io

from rich.console import Console

from tcssa_cli.output import Output, show_failures


def test_a_failure_is_two_lines_the_reason_first() -> None:
    stream = io.StringIO()
    failures = [("a.svs: is cut short", "a.svs", "copy it again"), ("is [empty]", "b.svs", None)]
    show_failures(Console(file=stream, width=20), failures)
    assert stream.getvalue().splitlines() == [
        "failed  is cut short",
        "        a.svs: copy it again",
        "failed  is [empty]",
        "        b.svs",
    ]


def test_on_a_narrow_terminal_the_bar_keeps_its_figures_and_forgets_what_is_skipped() -> None:
    output, stream = Output(), io.StringIO()
    output.stderr = Console(file=stream, width=70, force_terminal=True)
    with output.task("training", 20, "epochs") as task:
        task.describe("fold 1 of a very long description that does not fit [at all]")
        task.advance(4)
        task.skip(6)
    assert "4/14" in stream.getvalue()
    assert "fold 1 of a" in stream.getvalue()
    assert "epochs" in stream.getvalue()
