"""The site is built strictly: a link that leads nowhere, or a page without a place, fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sphinx")  # of the extra docs, which dev has
    folder = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", folder / "trees", DOCS, folder]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def shown(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_a_command_s_page_ends_with_its_options(site: Path) -> None:
    extract = shown(site / "extract.html").partition("All options")[2]
    assert "--mpp &lt;float&gt;" in extract
    assert "[default: 0.5]" in extract
    assert "In place of --overlap" in extract  # two dashes, as one types them
    assert "--patch-labels" in shown(site / "inspect-slots.html").partition("All options")[2]


def test_calls_are_shown_with_their_arguments(site: Path) -> None:
    page = shown(site / "api" / "tcssa.html")
    assert "out – The job folder." in page
    assert "Annotated[" not in page


def test_a_notebook_shows_what_it_printed_and_drew(site: Path) -> None:
    page = (site / "tutorials" / "trust-a-number.html").read_text(encoding="utf-8")
    assert "shuffled AUC" in page
    assert '<img alt="What the cell drew"' in page


def test_files_beside_the_pages_are_pages(site: Path) -> None:
    assert "The rule of two readings" in shown(site / "contributing.html")
    assert 'href="contributing.html' in (site / "index.html").read_text(encoding="utf-8")
