"""One small model, as a checkpoint and as an artefact."""

from pathlib import Path

import pytest
from exports import Exported
from factories import make_compressor

from tcssa import SlotCompressor
from tcssa.compressor import save_compressor


@pytest.fixture(scope="package")
def model() -> SlotCompressor:
    return make_compressor(salience=True)


@pytest.fixture(scope="package")
def checkpoint(model: SlotCompressor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    save_compressor(model, path, "test_encoder")
    return path


@pytest.fixture(scope="package")
def artefact(exported: Exported) -> Path:
    return exported(salience=True)
