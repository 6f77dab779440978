"""One small export, shared by the tests that only look at it."""

from pathlib import Path

import pytest
from factories import make_compressor

from tcssa import SlotCompressor
from tcssa_exporters import export_compressor


@pytest.fixture(scope="package")
def model() -> SlotCompressor:
    return make_compressor(feature_dim=64, num_slots=8)


@pytest.fixture(scope="package")
def onnx_artefact(model: SlotCompressor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "artefact"
    export_compressor(model, out, checkpoint_sha256="c0ffee", encoder="test_encoder")
    return out
