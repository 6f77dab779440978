"""Engines of TensorRT and of TensorRT-RTX, by one builder.

Written for ``tensorrt`` 10.x and 11.x and ``tensorrt_rtx`` 1.x: a strongly typed network (the
graph's number formats are the engine's; precision flags are gone in 11), one optimisation
profile, a workspace limit. TensorRT-RTX builds without a GPU, full TensorRT does not.

A plan can be neither loaded nor inspected without a GPU, so what the builder says of it is
written down while it builds.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from tcssa.errors import ArtefactError, DeviceError, MissingExtraError, UsageError
from tcssa.optional import require
from tcssa_exporters.options import ExportOptions

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+) bytes")


@dataclass(frozen=True)
class BuiltEngine:
    """What the builder said of the plan it wrote."""

    tool: str
    """Package and version."""
    plan_bytes: int
    scratch_bytes: int | None
    """Largest scratch memory at the profile's maximum; None if this version does not tell."""


def flavour(name: Literal["trt", "trt-rtx"]) -> Flavour:
    """Which TensorRT to build with.

    Args:
        name: ``trt`` takes full TensorRT where it is installed, else TensorRT-RTX.

    Raises:
        MissingExtraError: None that would do is installed.
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


def check_target(kind: Flavour, target: str | None) -> None:
    """Check that a TensorRT can build for a GPU, before any work is done.

    Raises:
        MissingExtraError: That TensorRT is not installed.
        UsageError: It does not build for the target.
        DeviceError: Full TensorRT was asked for without a GPU.
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
        if target not in (None, here):
            raise UsageError(
                f"full TensorRT builds for this machine's GPU ({here}), not for {target}",
                hint=f"leave --target out, or export on a machine with {target}",
            )
        return
    supported = [name.lower() for name in dir(trt.ComputeCapability) if re.match(r"SM\d", name)]
    if target is None or target in supported:
        return
    message = f"TensorRT-RTX does not build for {target!r}; it knows {', '.join(supported)}"
    if target in ("sm90", "sm100", "sm103"):
        message = f"TensorRT-RTX does not support {target} (H100, B200): it needs full TensorRT"
    raise UsageError(
        message,
        hint="for other GPUs: pip install 'tcssa[tensorrt]' on their machine, then --format trt",
    )


def build_engine(
    onnx_path: Path, plan_path: Path, kind: Flavour, options: ExportOptions
) -> BuiltEngine:
    """Build a plan from an ONNX file.

    Args:
        onnx_path: A float32 graph of `tcssa_exporters.graph`.
        plan_path: The file to write.
        kind: Which TensorRT.
        options: Profile, limits and target.

    Raises:
        MissingExtraError: That TensorRT is not installed.
        ArtefactError: The builder failed; its own last message is part of the error.
    """
    trt = require(_MODULES[kind], kind)
    log = _make_logger(trt)
    builder = trt.Builder(log)
    network = _parse(trt, builder, log, onnx_path)
    config = _configure(trt, builder, network, options)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        limit = options.workspace_bytes >> 20
        raise ArtefactError(
            plan_path.name,
            f"{trt.__name__} could not build the engine: {log.last_error()}",
            hint=f"raise --workspace (now {limit} MB), or lower --max-patches or --max-batch",
        )
    content = bytes(plan)
    plan_path.write_bytes(content)
    return BuiltEngine(f"{trt.__name__} {trt.__version__}", len(content), log.scratch_bytes)


def _parse(trt: ModuleType, builder: Any, log: Any, onnx_path: Path) -> Any:
    # TensorRT 11 knows strongly typed networks only and may drop the flag
    flags = trt.NetworkDefinitionCreationFlag
    typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise ArtefactError(
            onnx_path.name, f"{trt.__name__} cannot parse the graph: {log.last_error()}"
        )
    return network


def _configure(trt: ModuleType, builder: Any, network: Any, options: ExportOptions) -> Any:
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not float32
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.target is not None and hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = 1
        capability = getattr(trt.ComputeCapability, options.target.upper())
        config.set_compute_capability(capability, 0)
    assert options.patches.max is not None
    assert options.max_batch is not None
    feature_dim = network.get_input(0).shape[2]
    profile = builder.create_optimization_profile()
    batches = (1, 1, options.max_batch)
    counts = (options.patches.min, options.patches.opt, options.patches.max)
    shapes = [(b, n, feature_dim) for b, n in zip(batches, counts, strict=True)]
    profile.set_shape("features", *shapes)
    profile.set_shape("lengths", *[(b,) for b in batches])
    config.add_optimization_profile(profile)
    return config


def _make_logger(trt: ModuleType) -> Any:  # the class exists only once TensorRT is imported
    class BuilderLog(trt.ILogger):  # type: ignore[name-defined,misc]  # module known at run time
        """Keeps errors and the scratch memory, which is told nowhere else without a GPU."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.scratch_bytes: int | None = None

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
            elif found := _SCRATCH.search(message):
                self.scratch_bytes = int(found.group(1))

        def last_error(self) -> str:
            return self.errors[-1] if self.errors else "it gave no reason"

    return BuilderLog()
