"""A page of a comparison shows what is not defined as such, and names as text."""

from pathlib import Path

from html_pages import read_page
from PIL import Image

from tcssa.mil.comparison.compare_page import write_comparison_page
from tcssa.mil.comparison.comparison import Compared, Comparison
from tcssa.statistics.intervals import Score


def test_signs_gaps_and_hostile_names_are_set_as_text(tmp_path: Path) -> None:
    plot = tmp_path / "comparison.png"
    Image.new("RGB", (900, 300)).save(plot)
    hostile = "<script>alert('{{ 7 * 7 }}')</script>"
    first = Compared(hostile, "tcssa", Score(value=0.9, low=0.8, high=1), None, None, 0.91, 0.02)
    worse = Score(value=-0.25, low=-0.5, high=0.125)
    other = Compared("b", "mean", Score(value=None, low=None, high=None), worse, 0.04, None, None)
    write_comparison_page(tmp_path, Comparison("auc", 9, 7, [first, other]), plot)
    page = read_page(tmp_path / "comparison.html")
    assert page.cells[1:] == [
        [hostile, "tcssa", "0.900", "0.800 to 1.000", "–", "–", "–", "0.910 ± 0.020"],
        ["b", "mean", "not defined", "not defined", "−0.250", "−0.500 to +0.125", "0.040", "–"],
    ]  # fmt: skip
    assert f"AUC on the same 9 test slides of 7 patients; differences are from {hostile}." in (
        page.text
    )
