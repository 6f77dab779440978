"""Engines of TensorRT and of TensorRT-RTX, built by the same code.

It is written for ``tensorrt`` 10.x and 11.x and ``tensorrt_rtx`` 1.x: a strongly typed network (the
graph's number formats are the engine's; version 11 has no precision flags), one optimisation
profile per graph, a workspace limit. TensorRT-RTX builds without a GPU, full TensorRT does not.

A plan can be neither loaded nor inspected without a GPU, so the builder's messages about it are
recorded during the build.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tcssa.errors import ArtefactError, DeviceError, MissingExtraError, UsageError
from tcssa.optional import require
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.parts import NamedTensor, Part, Range
from tcssa_exporters.precision import PrecisionName

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_NEED_FULL_TENSORRT = ("sm90", "sm100", "sm103")
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+) bytes")


@dataclass(frozen=True)
class BuiltEngine:
    """A plan that was written."""

    module: str
    """The package that built it, under its import name."""
    version: str
    facts: dict[str, int | str]
    """Scratch memory (if the version reports it), bytes in and out, profile, size, limit."""


def flavour(name: Literal["trt", "trt-rtx"]) -> Flavour:
    """Choose the TensorRT to build with.

    Args:
        name: ``trt`` takes full TensorRT if it is installed, else TensorRT-RTX; ``trt-rtx`` takes
            TensorRT-RTX.

    Raises:
        MissingExtraError: No suitable TensorRT is installed.
    """
    wanted: tuple[Flavour, ...] = ("tensorrt-rtx",)
    if name == "trt":
        wanted = ("tensorrt", "tensorrt-rtx")
    for candidate in wanted:
        if importlib.util.find_spec(_MODULES[candidate]) is not None:
            return candidate
    error = MissingExtraError(_MODULES[wanted[0]], wanted[0])
    if name == "trt":
        error.hint = (
            "pip install 'tcssa[tensorrt]' (any NVIDIA GPU), or 'tcssa[tensorrt-rtx]' (RTX GPUs; "
            "builds without a GPU)"
        )
    raise error


def check_targets(kind: Flavour, targets: Sequence[str], precision: PrecisionName) -> None:
    """Check that a TensorRT can build for these GPUs, before any work is done.

    Args:
        kind: The TensorRT to build with.
        targets: Compute capabilities to build for, such as ``sm89``; empty for the default.
        precision: The precision to compute in.

    Raises:
        MissingExtraError: That TensorRT is not installed.
        UsageError: It does not build for a target, or a target cannot compute in the precision.
        DeviceError: Full TensorRT was asked for on a machine without a GPU.
    """
    import torch

    trt = require(_MODULES[kind], kind)
    if kind == "tensorrt":
        if not torch.cuda.is_available():
            raise DeviceError(
                "no CUDA device: full TensorRT builds only where the GPU is",
                hint="build on the target machine, or with --format trt-rtx for RTX GPUs",
            )
        here = "sm{}{}".format(*torch.cuda.get_device_capability())
        if set(targets) - {here}:
            raise UsageError(
                f"full TensorRT builds for this machine's GPU ({here}), not for "
                f"{', '.join(targets)}",
                hint="leave --target out, or export on the machine it is for",
            )
        targets = (here,)
    else:
        _check_rtx_targets(trt, targets)
    if precision == "bf16" and "sm75" in targets:
        raise UsageError(
            "sm75 (Turing) does not compute in bfloat16; sm80 and later do",
            hint="choose --precision fp16, or leave sm75 out",
        )


def _check_rtx_targets(trt: ModuleType, targets: Sequence[str]) -> None:
    known = [name.lower() for name in dir(trt.ComputeCapability) if re.match(r"SM\d", name)]
    for target in targets:
        if target in known:
            continue
        message = f"TensorRT-RTX does not build for {target!r}; it knows {', '.join(known)}"
        if target in _NEED_FULL_TENSORRT:
            message = f"TensorRT-RTX does not support {target} (H100, B200): it needs full TensorRT"
        raise UsageError(
            message,
            hint="for other GPUs: pip install 'tcssa[tensorrt]' on their machine, then "
            "--format trt",
        )


def build_engine(
    onnx_path: Path, plan_path: Path, kind: Flavour, part: Part, options: ExportOptions
) -> BuiltEngine:
    """Build a plan from an ONNX file.

    Args:
        onnx_path: The graph, with its external data beside it.
        plan_path: The file to write.
        kind: The TensorRT to build with.
        part: The graph's inputs and outputs.
        options: Sizes, workspace and targets.

    Raises:
        MissingExtraError: That TensorRT is not installed.
        ArtefactError: The graph cannot be parsed or the engine cannot be built; the error holds
            TensorRT's last message.
    """
    trt = require(_MODULES[kind], kind)
    log = _make_logger(trt)
    builder = trt.Builder(log)
    network = _parse(trt, builder, log, onnx_path)
    ranges = axis_ranges(options)
    config = _configure(trt, builder, options)
    config.add_optimization_profile(_profile(builder, part, ranges))
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        limit = options.workspace_bytes >> 20
        smaller = "--max-patches or --max-batch" if part.name == "full" else "--max-batch"
        raise ArtefactError(
            plan_path.name,
            f"{trt.__name__} could not build the engine: {log.last_error()}",
            hint=f"raise --workspace (now {limit} MB), or lower {smaller}",
        )
    content = bytes(plan)
    plan_path.write_bytes(content)
    facts = _facts(part, ranges)
    if log.scratch_bytes is not None:
        facts["scratch_bytes"] = log.scratch_bytes
    facts |= {"plan_bytes": len(content), "workspace_limit_bytes": options.workspace_bytes}
    return BuiltEngine(trt.__name__, str(trt.__version__), facts)


def axis_ranges(options: ExportOptions) -> dict[str, Range]:
    """Return the smallest, best and largest size of every axis that varies."""
    assert options.max_batch is not None
    assert options.max_slides is not None
    patches = options.patches
    if options.chunk_patches is not None:
        # an archive gives full batches of chunks, and a few slides are finished at a time
        return {
            "batch": (1, options.max_batch, options.max_batch),
            "slides": (1, min(options.max_batch, options.max_slides), options.max_slides),
        }
    assert patches.max is not None
    return {"batch": (1, 1, options.max_batch), "patches": (patches.min, patches.opt, patches.max)}


def _parse(trt: ModuleType, builder: Any, log: Any, onnx_path: Path) -> Any:
    # TensorRT 11 has strongly typed networks only and may drop the flag
    flags = trt.NetworkDefinitionCreationFlag
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise ArtefactError(
            onnx_path.name, f"{trt.__name__} cannot parse the graph: {log.last_error()}"
        )
    return network


def _configure(trt: ModuleType, builder: Any, options: ExportOptions) -> Any:
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not float32
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.targets and hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = len(options.targets)
        for index, target in enumerate(options.targets):
            capability = getattr(trt.ComputeCapability, target.upper())
            config.set_compute_capability(capability, index)
    return config


def _profile(builder: Any, part: Part, ranges: Mapping[str, Range]) -> Any:
    profile = builder.create_optimization_profile()
    for tensor in part.inputs:
        profile.set_shape(tensor.name, *_shapes(tensor, ranges))
    return profile


def _shapes(tensor: NamedTensor, ranges: Mapping[str, Range]) -> list[tuple[int, ...]]:
    """Return the smallest, best and largest shape of a tensor."""
    return [
        tensor.sized({axis: sizes[which] for axis, sizes in ranges.items()}) for which in range(3)
    ]


def _facts(part: Part, ranges: Mapping[str, Range]) -> dict[str, int | str]:
    """Describe the profile, and the bytes in and out at its largest sizes."""
    facts: dict[str, int | str] = {
        f"profile_{tensor.name}": ", ".join(
            "x".join(map(str, shape)) for shape in _shapes(tensor, ranges)
        )
        for tensor in part.inputs
    }
    largest = {axis: sizes[2] for axis, sizes in ranges.items()}
    facts["input_bytes"] = sum(tensor.num_bytes(largest) for tensor in part.inputs)
    facts["output_bytes"] = sum(tensor.num_bytes(largest) for tensor in part.outputs)
    return facts


def _make_logger(trt: ModuleType) -> Any:  # the class exists only once TensorRT is imported
    class BuilderLog(trt.ILogger):  # type: ignore[name-defined,misc]  # module known at run time
        """Keeps errors and the scratch memory, which without a GPU is reported only here."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.scratch_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            """See TensorRT's ``ILogger.log``."""
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
            elif found := _SCRATCH.search(message):
                self.scratch_bytes = int(found.group(1))

        def last_error(self) -> str:
            return self.errors[-1] if self.errors else "it gave no reason"

    return BuilderLog()
