"""Choice of the runtime for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tcssa.artefact import Artefact, is_artefact
from tcssa.errors import DeviceError, UsageError
from tcssa.hub import local_model
from tcssa_runtimes.contract.base import Runtime

RuntimeName = Literal["auto", "torch", "onnx", "onnx-trt", "trt"]
Device = Literal["auto", "cpu", "cuda"]


def open_runtime(
    model_path: Path | str,
    runtime: RuntimeName = "auto",
    device: Device = "auto",
    *,
    allow_cpu: bool = False,
) -> Runtime:
    """Choose the runtime for a model, and return it; entering it allocates.

    Args:
        model_path: An artefact's folder; or a run directory or checkpoint, for torch; or the
            address of one on the hub, ``hf:owner/name``.
        runtime: ``auto`` follows from the kind of path; ``onnx-trt`` is ONNX Runtime with its
            TensorRT provider.
        device: ``auto`` is the GPU for TensorRT, the CPU for ONNX, and for torch the GPU where
            there is one.
        allow_cpu: Run on the CPU where the requested GPU is not available; the runtime's ``notes``
            then say so.

    Raises:
        UsageError: The runtime cannot run this model, or not on this device.
        ArtefactError: The artefact is broken.
        CheckpointError: The checkpoint is broken.
        RunError: The run is not finished.
        DeviceError: CUDA was requested and is not available.
        HubError: The model is not on the hub, or is not the one that was pushed.
    """
    path = local_model(model_path)
    if is_artefact(path):
        return _open_artefact(path, runtime, device, allow_cpu=allow_cpu)
    if path.is_file() and is_artefact(path.parent):
        raise UsageError(f"{path} is a part of an artefact", hint=f"give its folder: {path.parent}")
    if runtime not in ("auto", "torch"):
        raise UsageError(
            f"the runtime {runtime!r} needs an exported artefact, and {path} is none",
            hint=f"export it first: tcssa export {path} --format {_format(runtime)} --out ARTEFACT",
        )
    return _open_torch(path, device, allow_cpu=allow_cpu)


def _format(runtime: RuntimeName) -> str:
    """Return the export format that a runtime runs."""
    return "onnx" if runtime.startswith("onnx") else runtime


def _open_artefact(
    folder: Path, runtime: RuntimeName, device: Device, *, allow_cpu: bool
) -> Runtime:
    artefact = Artefact.read(folder)
    fitting = ("onnx", "onnx-trt") if artefact.format == "onnx" else ("trt",)
    if runtime not in ("auto", *fitting):
        hint = (
            "give the run or checkpoint it was exported from"
            if runtime == "torch"
            else f"export again with --format {_format(runtime)}, or leave --runtime out"
        )
        raise UsageError(
            f"{folder} is an artefact for {artefact.format}, the runtime {runtime!r} cannot run it",
            hint=hint,
        )
    if artefact.format == "onnx":
        from tcssa_runtimes.backends.onnx_runtime import OnnxRuntime

        if runtime == "onnx-trt":
            if device == "cpu":
                raise UsageError("the runtime 'onnx-trt' runs on a GPU only")
            return OnnxRuntime(folder, artefact, "tensorrt", allow_cpu=allow_cpu)
        place: Literal["cpu", "cuda"] = "cpu" if device == "auto" else device
        return OnnxRuntime(folder, artefact, place, allow_cpu=allow_cpu)
    if device == "cpu":
        raise UsageError(
            f"{folder} is a {artefact.format} engine, which runs on a GPU only",
            hint="export with --format onnx to run on the CPU",
        )
    from tcssa_runtimes.backends.tensorrt_runtime import TensorRTRuntime

    return TensorRTRuntime(folder, artefact)


def _open_torch(path: Path, device: Device, *, allow_cpu: bool) -> Runtime:
    from tcssa.compressor import open_checkpoint
    from tcssa.compute.devices import resolve_device
    from tcssa_runtimes.backends.torch_runtime import TorchRuntime

    notes = []
    try:
        place = resolve_device(device).type
    except DeviceError as error:
        if not allow_cpu:
            raise
        place = "cpu"
        notes.append(f"runs on the CPU, as allowed: {error}")
    runtime = TorchRuntime(open_checkpoint(path), place)
    runtime.notes += notes
    return runtime
