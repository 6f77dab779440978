"""From a compressor to an artefact on disk.

The stages are: trace to ONNX, compare with torch, build the engine if one is asked for, write
``artefact.json``, run the engine where a GPU is, rename into place. Whatever fails leaves
nothing behind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from tcssa import __version__
from tcssa.artefact import Artefact, ModelFile, Parity, TensorSpec
from tcssa.checksums import file_sha256
from tcssa.reporter import Reporter, Silent, Task
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.staging import staged_artefact
from tcssa_exporters.tensorrt import build_engine, check_target, flavour
from tcssa_exporters.verify import Outputs, onnx_runner, verify

if TYPE_CHECKING:
    from tcssa import CompressorConfig, SlotCompressor

ExportFormat = Literal["onnx", "trt", "trt-rtx"]

NOT_RUN = "not yet run on a GPU"

_ONNX_FILE = "model.onnx"
_PLAN_FILE = "model.plan"
_PADDING = "rows of features beyond lengths do not matter, but must be finite"
_PRECISION = dict.fromkeys(("input", "gate", "pooling", "experts"), "float32")


class EngineRuntime(Protocol):
    """As much of a runtime as a verification needs; `tcssa_runtimes.Runtime` is one."""

    def run(self, features: NDArray[Any], lengths: NDArray[Any]) -> Outputs:
        """Features [B, N, D] and lengths [B] to outputs."""


OpenEngine = Callable[[Path], AbstractContextManager[EngineRuntime]]


def export_compressor(
    model: SlotCompressor,
    out: Path,
    *,
    format: ExportFormat = "onnx",
    checkpoint_sha256: str,
    encoder: str | None = None,
    min_patches: int = 1,
    opt_patches: int | None = None,
    max_patches: int | None = None,
    max_batch: int | None = None,
    target: str | None = None,
    workspace_mb: int = 2048,
    overwrite: bool = False,
    open_engine: OpenEngine | None = None,
    reporter: Reporter | None = None,
) -> Artefact:
    """Export a compressor and prove that the result computes the same.

    Args:
        model: The compressor. It is copied to the CPU in float32 and stays as it is.
        out: The artefact's folder.
        format: ``onnx``; ``trt`` for the TensorRT that is installed; ``trt-rtx``.
        checkpoint_sha256: Hash of the file that the model was loaded from.
        encoder: Name of the encoder of the features it was trained on, if known.
        min_patches: Fewest patches an engine is built for; runtimes pad smaller bags.
        opt_patches: The number an engine is tuned for; by default 8192, or the nearest allowed.
        max_patches: Most patches of a bag. None: any for ONNX, 131,072 for an engine.
        max_batch: Most bags at once. None: any for ONNX, 8 for an engine.
        target: Compute capability an engine is for, as ``sm89``. None: this machine's GPU, or
            every one that TensorRT-RTX knows.
        workspace_mb: Scratch memory an engine may use at most.
        overwrite: Replace an artefact that stands at ``out``.
        open_engine: Opens the runtime of an artefact's folder, to run a new engine where this
            machine has the GPU for it; exporters know no runtimes, so the caller brings it.
        reporter: Told of every stage.

    Returns:
        What ``artefact.json`` says.

    Raises:
        UsageError: Limits that contradict each other, a target that cannot be built for, or
            something standing at ``out`` already.
        MissingExtraError: The TensorRT asked for is not installed.
        DeviceError: Full TensorRT was asked for on a machine without a GPU.
        ParityError: The exported model differs from torch.
        ArtefactError: The ONNX checker or the engine's builder refused.
    """
    options = ExportOptions.resolve(
        "onnx" if format == "onnx" else flavour(format),
        checkpoint_sha256=checkpoint_sha256,
        encoder=encoder,
        min_patches=min_patches,
        opt_patches=opt_patches,
        max_patches=max_patches,
        max_batch=max_batch,
        target=target,
        workspace_mb=workspace_mb,
    )
    if options.format != "onnx":
        check_target(options.format, options.target)
    model = copy.deepcopy(model).float().cpu().eval()
    reporter = reporter or Silent()
    stages = 3 if options.is_engine else 2
    with (
        staged_artefact(out, overwrite=overwrite) as folder,
        reporter.task(f"export to {options.format}", total=stages, unit="stage") as task,
    ):
        artefact = _export_onnx(model, folder, options, task)
        if options.is_engine:
            artefact = _replace_by_engine(artefact, model, folder, options, open_engine, task)
    return artefact


def _export_onnx(
    model: SlotCompressor, folder: Path, options: ExportOptions, task: Task
) -> Artefact:
    """Fill the folder with a verified ONNX artefact."""
    from tcssa_exporters.graph import ExportGraph
    from tcssa_exporters.onnx import write_onnx

    path = folder / _ONNX_FILE
    task.describe("tracing to ONNX")
    data_files = write_onnx(ExportGraph(model), path, _metadata(model.config, options))
    task.advance()
    task.describe("comparing with torch")
    run, tool = onnx_runner(path)
    parity = verify(model, run, f"passed with {tool}")
    task.advance()
    inputs, outputs = _tensors(model.config)
    artefact = Artefact(
        format="onnx",
        models={
            "full": ModelFile(
                file=path.name,
                sha256=file_sha256(path),
                data_files={file.name: file_sha256(file) for file in data_files},
                inputs=inputs,
                outputs=outputs,
            )
        },
        feature_dim=model.config.feature_dim,
        num_slots=model.config.num_slots,
        top_k=model.config.top_k,
        precision=_PRECISION,
        patches=options.patches,
        max_batch=options.max_batch,
        encoder=options.encoder,
        checkpoint_sha256=options.checkpoint_sha256,
        parity=parity,
        tools=_tools(tool),
    )
    artefact.write(folder)
    return artefact


def _replace_by_engine(
    source: Artefact,
    model: SlotCompressor,
    folder: Path,
    options: ExportOptions,
    open_engine: OpenEngine | None,
    task: Task,
) -> Artefact:
    """Build an engine from the folder's ONNX artefact, and put it in its place."""
    assert options.format != "onnx"
    graph = source.models["full"]
    task.describe(f"building the engine with {options.format}")
    plan = folder / _PLAN_FILE
    built = build_engine(folder / _ONNX_FILE, plan, options.format, options)
    build: dict[str, int | str] = {
        "onnx_sha256": graph.sha256,
        "plan_bytes": built.plan_bytes,
        "workspace_limit_bytes": options.workspace_bytes,
    }
    if built.scratch_bytes is not None:
        build["scratch_bytes"] = built.scratch_bytes
    engine = graph.model_copy(
        update={"file": plan.name, "sha256": file_sha256(plan), "data_files": {}, "build": build}
    )
    name, _, number = built.tool.partition(" ")
    artefact = source.model_copy(
        update={
            "format": options.format,
            "models": {"full": engine},
            "parity": source.parity.model_copy(
                update={"status": f"{NOT_RUN}; its ONNX graph {source.parity.status}"}
            ),
            "tools": {**source.tools, name: number},
            "gpu_targets": _gpu_targets(options),
        }
    )
    for file in (_ONNX_FILE, *graph.data_files):
        (folder / file).unlink()
    artefact.write(folder)
    if open_engine is not None and _runs_here(options.target):
        task.describe("comparing the engine with torch")
        parity = _verify_engine(model, folder, options, open_engine, built.tool)
        artefact = artefact.model_copy(update={"parity": parity})
        artefact.write(folder)
    task.advance()
    return artefact


def _verify_engine(
    model: SlotCompressor, folder: Path, options: ExportOptions, open_engine: OpenEngine, tool: str
) -> Parity:
    import torch

    status = f"passed with {tool} on {torch.cuda.get_device_name()}"
    with open_engine(folder) as runtime:
        return verify(
            model,
            runtime.run,
            status,
            max_patches=options.patches.max,
            max_batch=options.max_batch,
        )


def _gpu_targets(options: ExportOptions) -> list[str]:
    """What an engine is built for; RTX builds for all it knows where no target was named."""
    import torch

    if options.target is not None:
        return [options.target]
    if options.format == "tensorrt-rtx":
        return []
    return ["sm{}{}".format(*torch.cuda.get_device_capability())]


def _runs_here(target: str | None) -> bool:
    """Whether this machine has the GPU that an engine was built for."""
    import torch

    if not torch.cuda.is_available():
        return False
    return target in (None, "sm{}{}".format(*torch.cuda.get_device_capability()))


def _tensors(config: CompressorConfig) -> tuple[list[TensorSpec], list[TensorSpec]]:
    slots, dim, top_k = config.num_slots, config.feature_dim, config.top_k
    inputs = [
        TensorSpec(name="features", dtype="float32", shape=[None, None, dim]),
        TensorSpec(name="lengths", dtype="int64", shape=[None]),
    ]
    outputs = [
        TensorSpec(name="slots", dtype="float32", shape=[None, slots, dim]),
        TensorSpec(name="mass", dtype="float32", shape=[None, slots]),
        TensorSpec(name="assignments", dtype="int64", shape=[None, None, top_k]),
        TensorSpec(name="weights", dtype="float32", shape=[None, None, top_k]),
    ]
    return inputs, outputs


def _metadata(config: CompressorConfig, options: ExportOptions) -> Mapping[str, str]:
    """What the ONNX file says of itself, should it part from its artefact."""
    return {
        "tcssa.version": __version__,
        "tcssa.feature_dim": str(config.feature_dim),
        "tcssa.num_slots": str(config.num_slots),
        "tcssa.top_k": str(config.top_k),
        "tcssa.encoder": options.encoder or "unknown",
        "tcssa.checkpoint_sha256": options.checkpoint_sha256,
        "tcssa.padding": _PADDING,
    }


def _tools(runtime: str) -> dict[str, str]:
    tools = {"tcssa": __version__}
    for package in ("torch", "onnx", "onnxscript"):
        try:
            tools[package] = version(package)
        except PackageNotFoundError:  # a build from source without metadata
            tools[package] = "unknown"
    name, _, number = runtime.partition(" ")
    return {**tools, name: number}
