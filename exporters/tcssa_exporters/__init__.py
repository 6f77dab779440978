"""From a checkpoint to an artefact: ONNX and TensorRT, verified against torch."""

from __future__ import annotations

from tcssa_exporters.export import export_compressor

__all__ = ["export_compressor"]
