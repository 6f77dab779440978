"""A package that is missing or broken is named, with what to install."""

from pathlib import Path

import pytest

from tcssa.errors import BrokenPackageError, MissingExtraError
from tcssa.optional import require


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are imported from."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_is_there_is_returned(packages: Path) -> None:
    (packages / "tcssa_test_there.py").write_text("answer = 42\n")
    assert require("tcssa_test_there", "pandas").answer == 42


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(MissingExtraError, match="tcssa_test_absent") as raised:
        require("tcssa_test_absent.part", "pandas")
    assert raised.value.hint == "pip install 'tcssa[pandas]'"


@pytest.mark.parametrize("fault", ["ImportError('libtorch.so')", "RuntimeError('operator nms')"])
def test_a_package_that_breaks_is_not_called_missing(packages: Path, fault: str) -> None:
    name = f"tcssa_test_broken_{fault[:3].lower()}"
    (packages / f"{name}.py").write_text(f"raise {fault}\n")
    with pytest.raises(BrokenPackageError, match=r"installed but cannot be imported \((lib|op)"):
        require(name, "encoders")


def test_what_a_package_itself_lacks_is_not_hidden(packages: Path) -> None:
    (packages / "tcssa_test_needy.py").write_text("import tcssa_test_absent\n")
    with pytest.raises(ModuleNotFoundError, match="tcssa_test_absent"):
        require("tcssa_test_needy", "pandas")
