import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_once import session_folder

if TYPE_CHECKING:
    from exports import Exported


def pytest_collection_finish() -> None:
    """What the imports made stays: the collector, which torch's tracing calls often, skips it."""
    gc.collect()
    gc.freeze()


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
