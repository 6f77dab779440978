"""Which runtime a model is opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tcssa.artefact import Artefact, is_artefact
from tcssa.errors import UsageError
from tcssa_runtimes.base import Runtime

RuntimeName = Literal["auto", "torch", "onnx", "trt"]
Device = Literal["auto", "cpu", "cuda"]


def open_runtime(
    model_path: Path | str, runtime: RuntimeName = "auto", device: Device = "auto"
) -> Runtime:
    """Choose the runtime for a model; entering it allocates.

    Args:
        model_path: An artefact's folder; or a run directory or checkpoint, for torch.
        runtime: ``auto`` goes by what the path is.
        device: ``auto`` is the GPU for TensorRT, the CPU for ONNX, and for torch the GPU where
            there is one.

    Raises:
        UsageError: That runtime cannot run that model, or not on that device.
        ArtefactError: The artefact is broken.
        CheckpointError: The checkpoint is broken.
        RunError: The run is not finished.
        DeviceError: CUDA was asked for and is not there.
    """
    path = Path(model_path)
    if is_artefact(path):
        return _open_artefact(path, runtime, device)
    if path.is_file() and is_artefact(path.parent):
        raise UsageError(f"{path} is a part of an artefact", hint=f"give its folder: {path.parent}")
    if runtime not in ("auto", "torch"):
        raise UsageError(
            f"the runtime {runtime!r} needs an exported artefact, and {path} is none",
            hint=f"export it first: tcssa export {path} --format {runtime} --out ARTEFACT",
        )
    return _open_torch(path, device)


def _open_artefact(folder: Path, runtime: RuntimeName, device: Device) -> Runtime:
    artefact = Artefact.read(folder)
    fitting = "onnx" if artefact.format == "onnx" else "trt"
    if runtime not in ("auto", fitting):
        hint = (
            "give the run or checkpoint it was exported from"
            if runtime == "torch"
            else f"export again with --format {runtime}, or leave --runtime out"
        )
        raise UsageError(
            f"{folder} is an artefact for {artefact.format}, the runtime {runtime!r} cannot run it",
            hint=hint,
        )
    if fitting == "onnx":
        from tcssa_runtimes.onnx_runtime import OnnxRuntime

        return OnnxRuntime(folder, artefact, "cpu" if device == "auto" else device)
    if device == "cpu":
        raise UsageError(
            f"{folder} is a {artefact.format} engine, which runs on a GPU only",
            hint="export with --format onnx to run on the CPU",
        )
    from tcssa_runtimes.tensorrt_runtime import TensorRTRuntime

    return TensorRTRuntime(folder, artefact)


def _open_torch(path: Path, device: Device) -> Runtime:
    from tcssa.compressor import open_checkpoint
    from tcssa.devices import resolve_device
    from tcssa_runtimes.torch_runtime import TorchRuntime

    place = resolve_device(device)
    return TorchRuntime(open_checkpoint(path), place.type)
