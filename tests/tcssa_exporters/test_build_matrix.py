"""Real TensorRT-RTX engines of every precision and shape that is promised."""

from pathlib import Path

import pytest
import torch

from tcssa import CompressorConfig, SlotCompressor
from tcssa_exporters.onnx import write_onnx
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.parts import make_parts
from tcssa_exporters.source import ExportSource
from tcssa_exporters.tensorrt import build_engine

pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.mark.matrix
@pytest.mark.parametrize("feature_dim", [512, 768, 1024, 1536])
@pytest.mark.parametrize("num_slots", [16, 32, 64, 128])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_engine_is_built(
    precision: str, num_slots: int, feature_dim: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = SlotCompressor(CompressorConfig(feature_dim=feature_dim, num_slots=num_slots)).eval()
    options = ExportOptions.resolve(
        "tensorrt-rtx",
        {"precision": precision, "targets": ["sm89"], "max_patches": 32_768, "max_batch": 1},
    )
    (part,) = make_parts(ExportSource(model, "x"), options)
    write_onnx(part, tmp_path / "model.onnx", {})
    built = build_engine(
        tmp_path / "model.onnx", tmp_path / "model.plan", "tensorrt-rtx", part, options
    )
    assert built.facts["plan_bytes"] == (tmp_path / "model.plan").stat().st_size
    assert 0 < int(built.facts["scratch_bytes"]) < options.workspace_bytes
