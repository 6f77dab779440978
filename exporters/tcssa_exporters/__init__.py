"""From a checkpoint to an artefact: ONNX and TensorRT, verified against torch."""

from __future__ import annotations

from tcssa_exporters.export import export_compressor, export_model
from tcssa_exporters.source import ExportSource, open_source

__all__ = ["ExportSource", "export_compressor", "export_model", "open_source"]
