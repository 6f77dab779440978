"""Model repositories of Triton Inference Server: configurations that agree with their graphs."""

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from exports import Exported
from onnx import TensorProto

from tcssa.artefact import Artefact
from tcssa.errors import UsageError
from tcssa_exporters import write_triton_models

TYPES = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.INT64: "TYPE_INT64",
}
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{}\[\]:,])|([^\s{}\[\]:,"]+)')


def parse(text: str) -> dict[str, list[Any]]:
    """A strict reading of protobuf's text format: every field a list, nested messages dicts."""
    tokens = [match.groups("") for match in _TOKEN.finditer(text)]
    assert not _TOKEN.sub("", text).strip(), "there is text that is no token"
    message, rest = _message(tokens, 0)
    assert rest == len(tokens)
    return message


def _message(tokens: list[tuple[str, str, str]], at: int) -> tuple[dict[str, list[Any]], int]:
    message: dict[str, list[Any]] = {}
    while at < len(tokens) and tokens[at][1] != "}":
        name = tokens[at][2]
        assert re.fullmatch(r"\w+", name), f"{tokens[at]} is no field"
        at += 1
        if tokens[at][1] == "{":
            value, at = _message(tokens, at + 1)
            assert tokens[at][1] == "}"
            at += 1
        else:
            assert tokens[at][1] == ":"
            value, at = _value(tokens, at + 1)
        message.setdefault(name, []).append(value)
    return message, at


def _value(tokens: list[tuple[str, str, str]], at: int) -> tuple[Any, int]:
    string, mark, word = tokens[at]
    if mark == "[":
        values, at = [], at + 1
        while tokens[at][1] != "]":
            assert tokens[at][1] in ("", ",")
            if tokens[at][1] != ",":
                values.append(int(tokens[at][2]))
            at += 1
        return values, at + 1
    assert not mark
    return (int(word) if re.fullmatch(r"-?\d+", word) else word or string), at + 1


def assert_describes(model: Path) -> dict[str, list[Any]]:
    """The configuration agrees with the ONNX file beside it, tensor by tensor."""
    config = parse((model / "config.pbtxt").read_text())
    graph = onnx.load(model / "1" / "model.onnx").graph
    assert config["name"] == [model.name]
    assert config["platform"] == ["onnxruntime_onnx"]
    for side, tensors in (("input", graph.input), ("output", graph.output)):
        described = {tensor["name"][0]: tensor for tensor in config[side]}
        assert list(described) == [tensor.name for tensor in tensors]
        for tensor in tensors:
            said, shape = described[tensor.name], tensor.type.tensor_type.shape.dim
            assert said["data_type"] == [TYPES[tensor.type.tensor_type.elem_type]]
            batchless = [dim.dim_value or -1 for dim in shape][1:]
            if batchless:
                assert said["dims"] == [batchless]
            else:  # one number a slide, which the server reshapes to the graph's [B]
                assert said["dims"] == [[1]]
                assert said["reshape"] == [{"shape": [[]]}]
            assert not shape[0].dim_value, "the batch axis must vary"
    return config


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("graph", ["full", "chunked"])
def test_configurations_agree_with_their_graphs(
    graph: str, precision: str, exported: Exported, tmp_path: Path
) -> None:
    artefact = exported(precision=precision, graph=graph, max_batch=4)
    models = write_triton_models(artefact, tmp_path / "repository")
    names = ["artefact"] if graph == "full" else ["artefact_partial", "artefact_finish"]
    assert [model.name for model in models] == names
    for model in models:
        config = assert_describes(model)
        assert config["max_batch_size"][0] >= 4
        facts = {p["key"][0]: p["value"][0]["string_value"][0] for p in config["parameters"]}
        assert facts["tcssa.artefact_sha256"] == Artefact.read(artefact).sha256


def test_a_classifier_s_classes_are_its_labels(
    exported_with_head: Exported, tmp_path: Path
) -> None:
    artefact = exported_with_head(pool="mean") / "artefact"
    (model,) = write_triton_models(artefact, tmp_path / "repository")
    config = assert_describes(model)
    logits = next(tensor for tensor in config["output"] if tensor["name"] == ["logits"])
    assert (model / logits["label_filename"][0]).read_text().split() == ["x", "y", "z"]


def test_what_stands_in_the_repository_is_not_replaced_unasked(
    exported: Exported, tmp_path: Path
) -> None:
    write_triton_models(exported(), tmp_path / "repository")
    with pytest.raises(UsageError, match="holds"):
        write_triton_models(exported(), tmp_path / "repository")
    write_triton_models(exported(), tmp_path / "repository", overwrite=True)
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["artefact"]
