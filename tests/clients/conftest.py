"""Other people's programs as clients of our files; `nox -s clients` installs them.

Elsewhere each test is skipped by the name of the program that it needs. Their warnings are their
own affair.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
