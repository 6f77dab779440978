"""Which runtime a model is opened with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tcssa.artefact import Artefact, is_artefact
from tcssa.checksums import file_sha256
from tcssa.errors import DeviceError, UsageError
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
        CheckpointError: The run or checkpoint is broken.
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
    import torch

    from tcssa import load_compressor
    from tcssa.artefact import PatchRange
    from tcssa.run import selected_checkpoint
    from tcssa_runtimes.facts import ModelFacts
    from tcssa_runtimes.torch_runtime import TorchRuntime

    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise DeviceError("no CUDA device", hint="use --device cpu, or look at: tcssa doctor")
    model = load_compressor(path)
    checkpoint = selected_checkpoint(path) if path.is_dir() else path
    facts = ModelFacts(
        path=path,
        feature_dim=model.config.feature_dim,
        num_slots=model.config.num_slots,
        top_k=model.config.top_k,
        patches=PatchRange(min=0, opt=0, max=None),
        max_batch=None,
        encoder=_encoder_of_run(path),
        sha256=file_sha256(checkpoint),
    )
    if device == "auto":
        device = "cuda" if has_cuda else "cpu"
    return TorchRuntime(facts, model, device)


def _encoder_of_run(path: Path) -> str | None:
    """The encoder that a run names; of a fold's folder, the run's above it."""
    from tcssa.run import RUN_FILE, read_run

    for folder in (path, path.parent):
        if (folder / RUN_FILE).is_file():
            name = read_run(folder).get("encoder")
            return None if name is None else str(name)
    return None
