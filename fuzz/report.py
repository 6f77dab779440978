"""A table of what a run read and found, and the inputs of its findings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from fuzz.supervisor import Result

_HEADER = ("target", "engine", "inputs", "per s", "outcomes", "branches", "refused", "findings")


def table(results: Sequence[Result]) -> str:
    """Lay results out in columns, a line a target."""
    rows = [_HEADER, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             for row in rows]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


def _row(result: Result) -> tuple[str, ...]:
    share = result.kinds["refused"] / max(result.num_inputs, 1)
    return (
        result.target.name,
        result.engine,
        f"{result.num_inputs:,}",
        f"{result.num_inputs / max(result.seconds, 1e-9):,.0f}",
        str(len(result.keys)),
        "" if result.covered is None else str(result.covered),
        f"{share:.0%}",
        str(len(result.findings)),
    )


def write_findings(folder: Path, result: Result) -> list[str]:
    """Write the inputs of a target's findings, and return a line for each."""
    lines = []
    for number, finding in enumerate(result.findings.values()):
        target = result.target
        place = folder / target.name
        place.mkdir(parents=True, exist_ok=True)
        word = re.sub(r"\W+", "-", finding.key)[:40].strip("-")
        suffix = ".packed" if target.is_folder else target.suffix
        path = place / f"{result.engine}-{number}-{word}{suffix}"
        path.write_bytes(finding.content)
        described = {"key": finding.key, "detail": finding.detail, "input": path.name}
        with (place / "findings.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(described) + "\n")
        times = result.keys[finding.key]
        lines.append(f"{target.name}: {times} × {finding.detail} [{finding.key}] {path}")
    return lines
