"""The pages say nothing that the program does not know: commands, options, links, names."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import tcssa
from tcssa_cli.help import examples
from tcssa_cli.main import _COMMANDS, _INSPECT, app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```([\w{}-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CONTENTS = re.compile(r"^```\{toctree\}\n(?::[^\n]*\n|\n)*(.*?)^```", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_SHELL = ("", "sh", "bash", "console", "shell")
_AT_THE_START = re.compile(r"^(\$ )?tcssa ")


def fenced(page: Path, languages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a page that are in one of these languages, with their language."""
    for language, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield language, block


def commands(language: str, block: str) -> Iterator[list[str]]:
    """The arguments of every ``tcssa …`` in a block, pipes and chains taken apart.

    A block of no language is output or a drawing; commands there begin a line.
    """
    for line in block.replace("\\\n", " ").splitlines():
        if not ("tcssa" in line if language else _AT_THE_START.match(line)):
            continue
        lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a line of output with a lone quote
            continue
        yield from _simple_commands(words)


def _simple_commands(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&"):
            while command and _ASSIGNMENT.fullmatch(command[0]):
                del command[0]
            if command and command[0].rpartition("/")[2] == "tcssa":
                yield command[1:]
            command = []
        else:
            command.append(word)


def parse(arguments: list[str]) -> None:
    """Parse a command line without running it; wrong usage raises."""
    group = typer.main.get_command(app)
    name, *rest = arguments or ["--help"]
    try:
        if name.startswith("-"):
            group.make_context("tcssa", [name, *rest])
        else:
            assert name in group.commands, f"No such command {name!r}"
            group.commands[name].make_context(name, rest)
    except typer.Exit:  # --help and --version end there
        return


LINES = [
    pytest.param(arguments, id=f"{page.relative_to(ROOT)}: {shlex.join(arguments)}")
    for page in PAGES
    for language, block in fenced(page, _SHELL)
    for arguments in commands(language, block)
]

EXAMPLES = [
    pytest.param(shlex.split(line)[1:], id=f"help: {line}")
    for commands_of in (*_COMMANDS.values(), _INSPECT)
    for command in commands_of.values()
    for line in examples(command)
]


def test_there_are_commands_to_check() -> None:
    assert len(LINES) > 30


@pytest.mark.parametrize("arguments", LINES + EXAMPLES)
def test_a_command_line_is_understood(arguments: list[str]) -> None:
    parse(arguments)


@pytest.mark.parametrize(
    "line", ["extract SLIDES --out job --no-such-option 1", "no-such-command x", "encode job"]
)
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises(Exception, match=r"No such|Missing"):
        parse(shlex.split(line))


def test_every_command_has_a_page() -> None:
    for command in app.registered_commands:
        page = ROOT / "docs" / f"{command.name}.md"
        assert page.read_text(encoding="utf-8").startswith(f"# tcssa {command.name}\n")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(linked), f"{target}: there is no such heading"


def test_every_page_is_in_the_contents() -> None:
    """The site has a place for each page, as the strict build asks too."""
    pages = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / "docs").rglob("*.ipynb")]
    listed = {
        (page.parent / entry).resolve()
        for page in pages
        for block in _CONTENTS.findall(page.read_text(encoding="utf-8"))
        for entry in block.split()
    }
    missing = {page.with_suffix("") for page in pages} - listed - {ROOT / "docs" / "index"}
    assert not missing


def imported_in_examples(page: Path) -> Iterator[tuple[str, str]]:
    """Module and name of whatever of ours a page's Python imports."""
    for _, block in fenced(page, ("python",)):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tcssa"):
                yield from ((str(node.module), alias.name) for alias in node.names)


def test_what_examples_import_is_in_the_api_pages() -> None:
    """What a page tells a reader to call can be looked up, and so can every front door."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").glob("*.md"))
    named = {("tcssa", name) for name in tcssa.__all__ if name != "__version__"}
    named |= {each for page in PAGES for each in imported_in_examples(page)}
    missing = {
        f"{module}.{name}"
        for module, name in named
        if f":: {module}.{name}\n" not in pages and f"automodule:: {module}\n" not in pages
    }
    assert not missing - {"tcssa_cli.versions.versions"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


def test_the_readme_gives_the_commands_that_ci_runs() -> None:
    (first, *_), (second, *_) = (
        [line for line in block.splitlines() if "pip install" in line]
        for _, block in fenced(ROOT / "README.md", ("sh",))
        if "pip install" in block
    )
    assert first.endswith("pip install -c constraints.txt . && .venv/bin/tcssa demo")
    assert second.endswith("pip install -c constraints.txt nox && .venv-dev/bin/nox")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_examples_exist(page: Path) -> None:
    for module, name in imported_in_examples(page):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
