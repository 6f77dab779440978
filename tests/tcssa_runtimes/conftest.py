"""One small model, as a checkpoint and as an artefact."""

from pathlib import Path

import pytest
from factories import make_compressor

from tcssa import SlotCompressor
from tcssa.compressor import save_compressor
from tcssa_exporters import export_compressor


@pytest.fixture(scope="package")
def model() -> SlotCompressor:
    return make_compressor()


@pytest.fixture(scope="package")
def checkpoint(model: SlotCompressor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    save_compressor(model, path, "test_encoder")
    return path


@pytest.fixture(scope="package")
def artefact(model: SlotCompressor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "artefact"
    export_compressor(model, out, checkpoint_sha256="c0ffee", encoder="test_encoder")
    return out
