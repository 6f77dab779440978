"""Run damaged files through every reader: ``python -m fuzz``, or ``nox -s fuzz``.

It ends with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported

from fuzz.coverage import run_covered
from fuzz.report import table, write_findings
from fuzz.supervisor import Result, run_targets
from fuzz.target import Target
from fuzz.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both engines and print what was found; return the exit code."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="Of each target.")
    parser.add_argument("--targets", help=f"Some of {', '.join(TARGETS)}; all if not given.")
    parser.add_argument("--seed", type=int, default=0, help="The same seed, the same inputs.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="At a time.")
    parser.add_argument("--engine", choices=("structure", "coverage", "both"), default="both")
    parser.add_argument("--minimise-s", type=float, default=20, help="For each finding.")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="Gets the findings.")
    given = parser.parse_args(arguments)
    names = given.targets.split(",") if given.targets else list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no targets {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    results = _run([TARGETS[name] for name in names], given)
    print(f"\n{table(results)}")
    return 1 if any(result.findings for result in results) else 0


def _run(targets: Sequence[Target], given: argparse.Namespace) -> list[Result]:
    def done(result: Result) -> None:
        print(f"{result.target.name}: {result.num_inputs:,} inputs by {result.engine} in "
              f"{result.seconds:.0f} s", flush=True)  # fmt: skip
        for line in write_findings(given.out, result):
            print(f"    {line}", flush=True)

    how = {"num_inputs": given.inputs, "seed": given.seed, "jobs": given.jobs}
    covered = [target for target in targets if target.covered]
    results: list[Result] = []
    if given.engine != "structure":
        results += run_covered(covered, **how, done=done)
    if given.engine != "coverage":
        results += run_targets(targets, **how, minimise_s=given.minimise_s, done=done)
    return results


if __name__ == "__main__":
    sys.exit(main())
