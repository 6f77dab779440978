"""The state of the house in figures: ``python tools/house.py``, with ``--check`` as CI runs it.

Counted are the packages alone, not tests and benchmarks. A circle is a set of modules, or of
folders, that import each other, imports for types included. A fragment is a docstring that opens
with no verb ("What …", "Of …", "Whether …"). ``Args`` are asked of public functions with two
parameters or more.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "tcssa": ROOT,
    "tcssa_cli": ROOT,
    "tcssa_runtimes": ROOT / "runtimes",
    "tcssa_exporters": ROOT / "exporters",
}
OPENINGS = frozenset(
    {
        "what", "whether", "of", "where", "which", "how", "who", "why", "when", "as", "by", "in",
        "to", "for", "from", "if", "not", "so", "such",
    }
)  # fmt: skip
"""First words of docstrings that are fragments."""
LONG_FUNCTION = 60
MOST_FRAGMENTS, LEAST_ARGS = 0.02, 0.80
"""Shares that ``--check`` allows and asks for."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, set[str]]


def main() -> int:
    """Print the figures; return 1 where one of them is checked and not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where a figure is not met")
    parser.add_argument("--list", action="store_true", help="name what is counted against it")
    parser.add_argument("--under", default="", help="only modules of this name or below")
    arguments = parser.parse_args()
    modules = {name: path for name, path in _modules() if name.startswith(arguments.under)}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules.values()]
    functions = [(name, node) for name, tree in trees.items() for node in _functions(tree)]
    long = [
        f"{name}.{node.name}: {length} lines"
        for name, node in functions
        if (length := (node.end_lineno or 0) - node.lineno + 1) > LONG_FUNCTION
    ]
    docstrings = [found for name, tree in trees.items() for found in _docstrings(name, tree)]
    fragments = [where for where, text in docstrings if _is_fragment(text)]
    asked = [(name, node) for name, node in functions if _owes_args(node)]
    without = [f"{name}.{node.name}" for name, node in asked if "Args:" not in _text(node)]
    imports = _imports(trees)
    circles = _circles(imports) + _circles(_folders(imports, modules))
    untested = [name for name, path in modules.items() if not _is_tested(name, path)]
    share_fragments = len(fragments) / max(1, len(docstrings))
    share_args = 1 - len(without) / max(1, len(asked))
    figures = {
        "files": len(modules),
        "lines": sum(lines),
        "median file, lines": statistics.median(lines),
        "largest file, lines": max(lines),
        f"functions over {LONG_FUNCTION} lines": len(long),
        "fragments of docstrings": f"{share_fragments:.1%} ({len(fragments)})",
        "Args, of public functions with two parameters": f"{share_args:.1%}",
        "circles of modules and folders": len(circles),
        "modules with a test of their name": f"{1 - len(untested) / len(modules):.0%}",
    }
    for name, figure in figures.items():
        print(f"{name:48} {figure}")
    if arguments.list:
        for title, found in (("fragment", fragments), ("no Args", without), ("long", long)):
            for each in found:
                print(f"{title}: {each}")
    for circle in circles:
        print("circle:", ", ".join(sorted(circle)))
    is_met = not circles and share_fragments <= MOST_FRAGMENTS and share_args >= LEAST_ARGS
    return 0 if is_met or not arguments.check else 1


def _modules() -> Iterator[tuple[str, Path]]:
    for package, base in PACKAGES.items():
        for path in sorted((base / package).rglob("*.py")):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def _functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _docstrings(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function):
            text = ast.get_docstring(node)
            if text:
                yield f"{module}.{getattr(node, 'name', '')}", text


def _is_fragment(text: str) -> bool:
    return text.split(maxsplit=1)[0].strip(",:;.`").lower() in OPENINGS


def _text(node: Function) -> str:
    return ast.get_docstring(node) or ""


def _owes_args(node: Function) -> bool:
    """Tell whether a function is public, says something, and has two parameters or more."""
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [each.arg for each in given if each.arg not in ("self", "cls")]
    decorators = {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
    is_public = not node.name.startswith("_") and not decorators & {"overload", "override"}
    return is_public and len(names) >= 2 and not _text(node).startswith("See ")


def _imports(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                targets = {f"{node.module}.{each.name}" for each in node.names}
                found[name] |= {each if each in trees else node.module for each in targets}
            elif isinstance(node, ast.Import):
                found[name] |= {each.name for each in node.names}
        found[name] = {each for each in found[name] if each in trees and each != name}
    return found


def _folders(imports: Graph, modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which folders import which others; a folder and one inside it are no two rooms."""

    def folder(name: str) -> str:
        return name if modules[name].name == "__init__.py" else name.rpartition(".")[0]

    found: dict[str, set[str]] = defaultdict(set)
    for name, targets in imports.items():
        for target in targets:
            here, there = folder(name), folder(target)
            if not f"{here}.".startswith(f"{there}.") and not f"{there}.".startswith(f"{here}."):
                found[here].add(there)
    return found


def _circles(graph: Graph) -> list[set[str]]:
    """Return the sets of two nodes or more that reach each other."""
    reached = {node: _reachable(graph, node) for node in graph}
    circles: list[set[str]] = []
    for node, there in reached.items():
        circle = {each for each in there if node in reached.get(each, set())} | {node}
        if len(circle) > 1 and circle not in circles:
            circles.append(circle)
    return circles


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in graph.get(waiting.pop(), ()):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen


def _is_tested(module: str, path: Path) -> bool:
    """Tell whether a module has a test of its name where its package is mirrored."""
    if path.name == "__init__.py":
        return True
    package, _, name = module.rpartition(".")
    return (ROOT / "tests" / package.replace(".", "/") / f"test_{name}.py").exists()


if __name__ == "__main__":
    sys.exit(main())
