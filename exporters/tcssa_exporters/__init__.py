"""Exports of checkpoints as artefacts: ONNX and TensorRT, verified against torch."""

from __future__ import annotations

from tcssa_exporters.encoder import export_encoder
from tcssa_exporters.export import export_compressor, export_model
from tcssa_exporters.source import ExportSource, open_source
from tcssa_exporters.triton import check_triton, write_triton_models

__all__ = [
    "ExportSource",
    "check_triton",
    "export_compressor",
    "export_encoder",
    "export_model",
    "open_source",
    "write_triton_models",
]
