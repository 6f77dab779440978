"""One small model, and an export shared by the tests that only look at it."""

from pathlib import Path

import pytest
from exports import Exported
from factories import make_compressor

from tcssa import SlotCompressor


@pytest.fixture(scope="package")
def model() -> SlotCompressor:
    return make_compressor(feature_dim=64, num_slots=8)


@pytest.fixture(scope="package")
def onnx_artefact(exported: Exported) -> Path:
    return exported()
