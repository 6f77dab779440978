"""The options of an export, with all defaults filled in and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

from tcssa.artefact import Format, Graph, PatchRange
from tcssa.errors import UsageError
from tcssa_exporters.precision import PRECISIONS, Precision, PrecisionName

CHUNK_PATCHES = {"onnx": 2048, "engine": 8192}
"""Default rows of a chunk. On a CPU, as many as stay in its cache between gate and pooling."""

_OPT_PATCHES = 8192
_ENGINE_MAX_PATCHES = 131_072
_ENGINE_MAX_BATCH = {"full": 8, "chunked": 16}
_FINISH_SLIDES = 64


class ExportRequest(TypedDict, total=False):
    """Options of an export; one that is left out has the default named last."""

    precision: PrecisionName
    """Number format of pooling, experts and heads; the gate is always float32. ``fp32``."""
    graph: Graph
    """``full``: one graph for whole bags. ``chunked``: a pair for bags of any size. ``full``."""
    chunk_patches: int | None
    """Most rows of a chunk of a chunked pair. 2048 for ONNX, 8192 for an engine."""
    min_patches: int | None
    """Fewest patches that a full engine is built for; runtimes pad smaller bags. 1."""
    opt_patches: int | None
    """Number of patches that a full engine is tuned for. 8192, or the nearest allowed."""
    max_patches: int | None
    """Most patches of a bag in a full graph. Any for ONNX, 131,072 for an engine."""
    max_batch: int | None
    """Most bags, or chunks, at once. Any for ONNX; for an engine 8 bags (1 in half precision, where
    the gate needs a float32 copy of the features), or 16 chunks."""
    targets: Sequence[str]
    """Compute capabilities to build an engine for, such as ``sm89``. Empty: this machine's GPU, or
    all that TensorRT-RTX builds for by default."""
    workspace_mb: int
    """Most scratch memory that an engine may use, in MiB. 2048."""


@dataclass(frozen=True)
class ExportOptions:
    """One export's options, resolved; see `ExportRequest` for their meaning."""

    format: Format
    precision: Precision
    graph: Graph
    chunk_patches: int | None
    patches: PatchRange
    max_batch: int | None
    targets: tuple[str, ...]
    workspace_bytes: int

    @property
    def is_engine(self) -> bool:
        """Tell whether the result is a TensorRT plan, which is built for a range of sizes."""
        return self.format != "onnx"

    @property
    def max_slides(self) -> int | None:
        """The most slides that a chunked pair finishes at once; None for any number."""
        return None if self.max_batch is None else max(self.max_batch, _FINISH_SLIDES)

    def gpu_targets(self) -> list[str]:
        """List the GPUs an engine is built for; empty where TensorRT-RTX chooses by itself."""
        if self.targets or self.format == "tensorrt-rtx":
            return list(self.targets)
        return [_this_gpu()]

    def runs_here(self) -> bool:
        """Tell whether this machine has a GPU that an engine is built for."""
        import torch

        if not self.is_engine or not torch.cuda.is_available():
            return False
        return not self.targets or _this_gpu() in self.targets

    @classmethod
    def resolve(cls, format: Format, request: ExportRequest) -> Self:
        """Fill in the defaults and check the options.

        Args:
            format: The format to export to.
            request: The options that were set.

        Raises:
            UsageError: Limits are too small or contradict each other, or an option has no meaning
                for the format or the graph.
        """
        graph = request.get("graph", "full")
        precision = PRECISIONS[request.get("precision", "fp32")]
        targets = tuple(sorted(set(request.get("targets", ()))))
        if format == "onnx" and targets:
            raise UsageError(
                f"an ONNX file is built for no GPU, so --target {','.join(targets)} has no meaning",
                hint="leave --target out, or choose --format trt",
            )
        max_batch = request.get("max_batch")
        if max_batch is None and format != "onnx":
            whole_in_half = graph == "full" and precision.is_half
            max_batch = 1 if whole_in_half else _ENGINE_MAX_BATCH[graph]
        if max_batch is not None and max_batch < 1:
            raise UsageError(f"--max-batch must be at least 1, got {max_batch}")
        workspace_mb = request.get("workspace_mb", 2048)
        if workspace_mb < 1:
            raise UsageError(f"--workspace must be at least 1 MB, got {workspace_mb}")
        chunk_patches = _chunk_patches(format, graph, request)
        return cls(
            format=format,
            precision=precision,
            graph=graph,
            chunk_patches=chunk_patches,
            patches=_patches(format, request)
            if chunk_patches is None
            else PatchRange(min=1, opt=chunk_patches, max=None),
            max_batch=max_batch,
            targets=targets,
            workspace_bytes=workspace_mb << 20,
        )


def _this_gpu() -> str:
    import torch

    return "sm{}{}".format(*torch.cuda.get_device_capability())


def _chunk_patches(format: Format, graph: Graph, request: ExportRequest) -> int | None:
    """Resolve the rows of a chunk; None for a full graph."""
    asked = request.get("chunk_patches")
    if graph == "full":
        if asked is not None:
            raise UsageError(
                "--chunk-patches has a meaning only with --graph chunked",
                hint="leave it out, or add --graph chunked",
            )
        return None
    for name in ("min_patches", "opt_patches", "max_patches"):
        if request.get(name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} has no meaning with --graph chunked, which takes bags "
                "of any size",
                hint="set the rows of a chunk: --chunk-patches",
            )
    rows = CHUNK_PATCHES["onnx" if format == "onnx" else "engine"] if asked is None else asked
    if rows < 1:
        raise UsageError(f"--chunk-patches must be at least 1, got {rows}")
    return rows


def _patches(format: Format, request: ExportRequest) -> PatchRange:
    """Resolve the sizes of bags that a full graph takes."""
    asked_min = request.get("min_patches")
    smallest = 1 if asked_min is None else asked_min
    largest = request.get("max_patches")
    if largest is None and format != "onnx":
        largest = _ENGINE_MAX_PATCHES
    opt = request.get("opt_patches")
    if opt is None:
        opt = max(smallest, min(_OPT_PATCHES, _OPT_PATCHES if largest is None else largest))
    if not 1 <= smallest <= opt or (largest is not None and opt > largest):
        raise UsageError(
            "need 1 <= --min-patches <= --opt-patches <= --max-patches, got "
            f"{smallest}, {opt}, {largest}"
        )
    return PatchRange(min=smallest, opt=opt, max=largest)
