from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def encoder_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the whole session: compiling the encoder takes seconds."""
    folder = tmp_path_factory.getbasetemp() / "encoder-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TCSSA_CACHE", str(folder))
        yield folder
