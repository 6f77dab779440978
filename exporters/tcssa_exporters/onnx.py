"""Graphs as ONNX files.

A file's bytes depend only on the weights, the metadata and the versions of torch and onnxscript:
the exporter's notes on the machine it ran on (source paths, stack traces) are removed, so a
checkpoint's export has the same SHA-256 whatever folder it was exported from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcssa.compute.onnx_support import quiet_exporter
from tcssa.errors import ArtefactError

if TYPE_CHECKING:
    from onnx import ModelProto

    from tcssa_exporters.parts import NamedTensor, Part

OPSET = 20
"""Opsets 20 to 24 gave byte-identical engines; the oldest is the most widely read."""

EXTERNAL_DATA_ABOVE_BYTES = 2**31 - 2**24
"""A protobuf message is limited to 2 GiB; larger weights go to a file of their own."""

_TRACED_SIZES = {"batch": 2, "patches": 3, "slides": 2}
"""Sizes of the axes that vary, for tracing; 0 and 1 would be taken for constants."""


def write_onnx(part: Part, path: Path, metadata: Mapping[str, str]) -> list[Path]:
    """Export a graph to ONNX and check the file.

    Args:
        part: The graph.
        path: The file to write.
        metadata: Facts to store in the file's ``metadata_props``.

    Returns:
        The files written beside ``path``: the weights, where they exceed 2 GiB.

    Raises:
        ArtefactError: The ONNX checker refuses the file.
    """
    import onnx

    proto = _trace(part)
    _strip(proto)
    onnx.helper.set_model_props(proto, dict(sorted(metadata.items())))
    weight_bytes = sum(value.nbytes for value in part.module.state_dict().values())
    if weight_bytes > EXTERNAL_DATA_ABOVE_BYTES:
        data = path.with_name(path.name + ".data")
        onnx.save_model(proto, path, save_as_external_data=True, location=data.name)
        written = [data]
    else:
        onnx.save_model(proto, path)
        written = []
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        reason = str(error).splitlines()[0]
        raise ArtefactError(path, f"the ONNX checker refuses the graph: {reason}") from None
    return written


def _trace(part: Part) -> ModelProto:
    import torch
    from torch.export import Dim

    names = {axis for tensor in part.inputs for axis in tensor.shape if isinstance(axis, str)}
    axes = {name: Dim(name) for name in sorted(names)}
    with quiet_exporter():
        program = torch.onnx.export(
            part.module,
            kwargs={tensor.name: _example(tensor) for tensor in part.inputs},
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in part.inputs],
            output_names=[tensor.name for tensor in part.outputs],
            dynamic_shapes={
                tensor.name: {
                    index: axes[axis]
                    for index, axis in enumerate(tensor.shape)
                    if isinstance(axis, str)
                }
                for tensor in part.inputs
            },
            verbose=False,
        )
    assert program is not None  # None is for dynamo=False only
    return program.model_proto


def _example(tensor: NamedTensor) -> Any:  # torch is not imported with this module
    import torch

    return torch.zeros(tensor.sized(_TRACED_SIZES), dtype=getattr(torch, tensor.dtype))


def _strip(proto: ModelProto) -> None:
    """Remove everything that only says where and how the graph was traced."""
    graph = proto.graph
    parts: Iterable[Any] = (  # protobuf messages share these two fields but no type
        proto,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    )
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")
