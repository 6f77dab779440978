"""Half-precision graphs on a CPU that has no half-precision operations.

ONNX Runtime's CPU provider refuses bfloat16, and computes float16 in float32 without rounding
intermediate results: 300 · 300 is 90,000 there and infinity on a GPU. So a graph is rewritten:
every operation that gives a 16-bit tensor computes in float32, and its result is rounded to 16
bits, just as on hardware that multiplies in 16 bits and sums in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto


def rounded_model(model: ModelProto) -> ModelProto:
    """Rewrite a graph so that float32 operations give the results of 16-bit ones.

    Args:
        model: The model, weights included; it is not changed.

    Returns:
        The rewritten model, whose inputs and outputs have the same types.

    Raises:
        ValueError: An operation contains a graph, which cannot be rewritten.
    """
    import onnx

    half = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = model.graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    nodes: list[NodeProto] = []
    renamed: dict[str, str] = {}
    for value in graph.input:
        if types[value.name] in half:
            renamed[value.name] = f"{value.name}_in_float32"
            nodes.append(_cast(value.name, renamed[value.name], onnx.TensorProto.FLOAT))
    for tensor in graph.initializer:
        if tensor.data_type in half:
            _widen(tensor)
    for node in graph.node:
        nodes.extend(_rounded_node(node, types, renamed))
    del graph.node[:]
    graph.node.extend(nodes)
    _forget_types(graph.value_info, half)
    return model


def _rounded_node(
    node: NodeProto, types: dict[str, int], renamed: dict[str, str]
) -> list[NodeProto]:
    """Return the node in float32, followed by nodes that round its 16-bit outputs."""
    import onnx

    half = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    result = onnx.NodeProto()
    result.CopyFrom(node)
    for index, name in enumerate(node.input):
        result.input[index] = renamed.get(name, name)
    for attribute in result.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            raise ValueError(f"{node.op_type} holds a graph")
        _widen_attribute(attribute, half)
    after: list[NodeProto] = []
    for index, name in enumerate(node.output):
        if types.get(name) in half:
            result.output[index] = f"{name}_not_rounded"
            after.append(_cast(result.output[index], f"{name}_16_bits", types[name]))
            after.append(_cast(f"{name}_16_bits", name, onnx.TensorProto.FLOAT))
    return [result, *after]


def _widen_attribute(attribute: AttributeProto, half: tuple[int, ...]) -> None:
    """Turn an attribute that names or holds a 16-bit type into one of float32."""
    import onnx

    if attribute.name in ("to", "dtype") and attribute.i in half:
        attribute.i = onnx.TensorProto.FLOAT
    if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in half:
        _widen(attribute.t)


def _widen(tensor: TensorProto) -> None:
    """Turn a 16-bit tensor into a float32 one with the same values."""
    import numpy as np
    import onnx

    values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _cast(source: str, target: str, dtype: int) -> NodeProto:
    import onnx

    return onnx.helper.make_node("Cast", [source], [target], to=dtype)


def _forget_types(values: list[ValueInfoProto], half: tuple[int, ...]) -> None:
    """Drop the stored types of tensors that are no longer 16-bit; they are inferred again."""
    kept = [value for value in values if value.type.tensor_type.elem_type not in half]
    del values[:]
    values.extend(kept)
