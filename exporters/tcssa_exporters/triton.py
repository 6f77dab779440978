"""Artefacts as models of a Triton Inference Server's repository.

A model there is a folder: ``config.pbtxt``, and its files below a version number. The description
of the tensors follows from the server's batching:

- The batch axis is left out of ``dims``; ``max_batch_size`` stands for it. So ``lengths``, which
  the graph takes as [B], would have no dimension left, but a request needs at least one. It is
  declared as one number per slide, [B, 1], which the server reshapes to [B] (``reshape`` to an
  empty shape).
- The dynamic batcher only joins requests of equal shapes and does not pad. ``allow_ragged_batch``
  would concatenate others without a batch axis, which these graphs do not take. So chunks of a
  chunked pair, which all have one shape, may wait for one another; whole slides, which seldom have
  the same shape, may not. A client can still send several padded slides in one request.

This has not been tested against a server.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tcssa.artefact import Artefact, Graph, ModelFile, TensorSpec
from tcssa.errors import UsageError
from tcssa_exporters.staging import require_free, staged_folder
from tcssa_exporters.tensorrt import flavour

_CONFIG = "config.pbtxt"
_LABELS = "labels.txt"
_VERSION = "1"

_PLATFORMS = {"onnx": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
_FILES = {"onnx": "model.onnx", "tensorrt": "model.plan"}
_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "int64": "TYPE_INT64"}

_MAX_BATCH = 8
"""Limit if the artefact sets none: the server needs one."""

_CHUNK_DELAY_US = 1000
"""Longest wait of a chunk for others: less than its own transfer of 32 MB takes."""


def check_triton(
    format: Literal["onnx", "trt", "trt-rtx"],
    name: str,
    repository: Path,
    graph: Graph,
    *,
    overwrite: bool,
) -> None:
    """Check that an export can become models of a repository, before any work is done.

    Args:
        format: The format to export to.
        name: Name of the artefact's folder.
        repository: The server's model repository.
        graph: ``full`` makes one model, ``chunked`` two.
        overwrite: Whether models of these names may be replaced.

    Raises:
        UsageError: The server does not run the format, or the folder of a model is in use.
        MissingExtraError: The TensorRT asked for is not installed.
    """
    if format != "onnx":
        _require_served(flavour(format))
    for part in ("partial", "finish") if graph == "chunked" else ("full",):
        target = repository / _model_name(name, part)
        require_free(target, "Triton model", _is_model, overwrite=overwrite)


def write_triton_models(
    artefact_folder: Path, repository: Path, *, name: str | None = None, overwrite: bool = False
) -> list[Path]:
    """Write an artefact into a model repository: one model, or two for a chunked pair.

    Args:
        artefact_folder: An ONNX or full TensorRT artefact.
        repository: The server's model repository; created if it does not exist.
        name: Name of the model; by default that of the artefact's folder. ``_partial`` and
            ``_finish`` are appended for a chunked pair.
        overwrite: Replace models of the same names.

    Returns:
        The models' folders.

    Raises:
        ArtefactError: The folder is no artefact, or a damaged one.
        UsageError: The server does not run its format, or the folder of a model is in use.
    """
    artefact = Artefact.read(artefact_folder)
    _require_served(artefact.format)
    repository.mkdir(parents=True, exist_ok=True)
    written = []
    for part in artefact.models:
        target = repository / _model_name(name or artefact_folder.resolve().name, part)
        # a server that watches the repository must not meet a half-written model
        staged_in = repository.resolve().parent
        with staged_folder(
            target, "Triton model", _is_model, overwrite=overwrite, staged_in=staged_in
        ) as folder:
            _write_model(folder, target.name, artefact, part, artefact_folder)
        written.append(target)
    return written


def _write_model(
    folder: Path, name: str, artefact: Artefact, part: str, artefact_folder: Path
) -> None:
    model = artefact.models[part]
    version = folder / _VERSION
    version.mkdir()
    shutil.copyfile(artefact_folder / model.file, version / _FILES[artefact.format])
    for file in model.data_files:  # the model names them, so they keep their names
        shutil.copyfile(artefact_folder / file, version / file)
    text = "\n".join(_config(name, artefact, part, model)) + "\n"
    (folder / _CONFIG).write_text(text, encoding="utf-8")
    if artefact.classes is not None and _has(model, "logits"):
        labels = "".join(f"{label}\n" for label in artefact.classes)
        (folder / _LABELS).write_text(labels, encoding="utf-8")


def _config(name: str, artefact: Artefact, part: str, model: ModelFile) -> Iterator[str]:
    """Yield the lines of ``config.pbtxt``, a ModelConfig in protobuf's text format."""
    yield f"name: {_quoted(name)}"
    yield f"platform: {_quoted(_PLATFORMS[artefact.format])}"
    yield f"max_batch_size: {model.max_batch or _MAX_BATCH}"
    for tensor in model.inputs:
        yield from _tensor("input", tensor, artefact)
    for tensor in model.outputs:
        yield from _tensor("output", tensor, artefact)
    delay = 0 if part == "full" else _CHUNK_DELAY_US
    yield f"dynamic_batching {{ max_queue_delay_microseconds: {delay} }}"
    for key, value in _parameters(artefact, part).items():
        yield f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"


def _tensor(kind: str, tensor: TensorSpec, artefact: Artefact) -> Iterator[str]:
    dims = [-1 if size is None else size for size in tensor.shape[1:]]
    yield f"{kind} {{"
    yield f"  name: {_quoted(tensor.name)}"
    yield f"  data_type: {_TYPES[tensor.dtype]}"
    yield f"  dims: {dims or [1]}"
    if not dims:
        yield "  reshape { shape: [ ] }"
    if tensor.name == "logits" and artefact.classes is not None:
        yield f"  label_filename: {_quoted(_LABELS)}"
    yield "}"


def _parameters(artefact: Artefact, part: str) -> dict[str, str]:
    """Collect facts about the model for clients; the server only passes them on."""
    facts = {
        "what": artefact.what,
        "part": part,
        "encoder": artefact.encoder or "unknown",
        "checkpoint_sha256": artefact.checkpoint_sha256,
        "artefact_sha256": artefact.sha256,
        "chunk_patches": str(artefact.chunk_patches) if artefact.chunk_patches else None,
        "patches_max": str(artefact.patches.max) if artefact.patches.max else None,
    }
    return {f"tcssa.{key}": value for key, value in facts.items() if value is not None}


def _require_served(format: str) -> None:
    if format not in _PLATFORMS:
        raise UsageError(
            "Triton Inference Server runs ONNX files and plans of full TensorRT, and no plans of "
            "TensorRT-RTX",
            hint="choose --format onnx, or full TensorRT on the server's machine",
        )


def _model_name(name: str, part: str) -> str:
    return name if part == "full" else f"{name}_{part}"


def _is_model(folder: Path) -> bool:
    return (folder / _CONFIG).is_file()


def _has(model: ModelFile, output: str) -> bool:
    return any(tensor.name == output for tensor in model.outputs)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
