"""The process of atheris: ``python -m fuzz.covered_child TARGET FOLDER MODULES OPTIONS``."""

from __future__ import annotations

import atexit
import importlib
import sys
from pathlib import Path

import atheris


def main() -> None:
    """Instrument the target's modules, then read inputs until libFuzzer ends the process."""
    name, folder, modules = sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(",")
    with atheris.instrument_imports(include=modules):
        for module in modules:
            importlib.import_module(module)
    from fuzz.targets import TARGETS
    from fuzz.worker import Tally, known_data, limited

    target = TARGETS[name]
    known = known_data(target, folder)
    tally = Tally(folder, 0)
    atexit.register(tally.write)
    numbers = iter(range(2**63))

    def read(content: bytes) -> None:
        number = next(numbers)
        tally.add(target.judge(target.place(folder, content), known), content, number)
        if number % 500 == 0:
            tally.write()

    with limited():
        atheris.Setup([sys.argv[0], *sys.argv[4:]], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
