import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from made_once import session_folder
from shared_data import SHARED, needs_shared

if TYPE_CHECKING:
    from exports import Exported


settings.register_profile("tests", deadline=None)  # a machine may be busy
settings.load_profile("tests")


def pytest_collection_finish() -> None:
    """What the imports made stays: the collector, which torch's tracing calls often, skips it."""
    gc.collect()
    gc.freeze()


_BEGUN_FIRST = (
    "exporters/test_ensemble.py", "exporters/test_export.py", "exporters/test_onnx.py",
    "exporters/test_tensorrt.py", "contract/test_contract.py", "prediction/test_artefact_model.py",
    "archive/test_shared_job.py", "archive/test_slot_sink.py", "bags/test_feature_pack_writer.py",
    "training/test_train.py", "training/test_fit.py", "commands/test_demo.py",
)  # fmt: skip
"""Files of half a minute or so: begun last, one of two workers would wait for the other's."""


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, and whatever asks for shared data carries the marker."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_BEGUN_FIRST))
    for item in items:
        if needs_shared(item):
            item.add_marker("shared")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line says how many tests a clone without the shared data could not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    # a module that is skipped whole, for a package that lacks, is reported without keywords
    number = sum("shared" in getattr(report, "keywords", ()) for report in skipped)
    if number and not SHARED.is_dir():
        tests = "1 test needs" if number == 1 else f"{number} tests need"
        terminalreporter.line(f"{tests} ../shared, which is not there")


@pytest.fixture(scope="session", autouse=True)
def encoder_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session: exporting the encoder takes seconds."""
    folder = session_folder(tmp_path_factory) / "encoder-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TCSSA_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    from exports import exports_of  # imports torch

    return exports_of(tmp_path_factory)


@pytest.fixture(scope="session")
def exported_with_head(tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    from exports import exports_with_head_of  # imports torch

    return exports_with_head_of(tmp_path_factory)
