"""What an export is asked for, with every default filled in and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tcssa.artefact import Format, PatchRange
from tcssa.errors import UsageError

_OPT_PATCHES = 8192
_ENGINE_MAX_PATCHES = 131_072
_ENGINE_MAX_BATCH = 8


@dataclass(frozen=True)
class ExportOptions:
    """One export's options; see `tcssa_exporters.export_compressor` for their meaning."""

    format: Format
    checkpoint_sha256: str
    encoder: str | None
    patches: PatchRange
    max_batch: int | None
    target: str | None
    workspace_bytes: int

    @property
    def is_engine(self) -> bool:
        """Whether the result is a TensorRT plan, which is built for a range of sizes."""
        return self.format != "onnx"

    @classmethod
    def resolve(
        cls,
        format: Format,
        *,
        checkpoint_sha256: str,
        encoder: str | None,
        min_patches: int,
        opt_patches: int | None,
        max_patches: int | None,
        max_batch: int | None,
        target: str | None,
        workspace_mb: int,
    ) -> Self:
        """Fill in what was not given.

        Raises:
            UsageError: Limits that contradict each other.
        """
        if format != "onnx":
            max_patches = _ENGINE_MAX_PATCHES if max_patches is None else max_patches
            max_batch = _ENGINE_MAX_BATCH if max_batch is None else max_batch
        elif target is not None:
            raise UsageError(
                f"an ONNX file is built for no GPU, so --target {target} has no meaning",
                hint="leave --target out, or choose --format trt",
            )
        if opt_patches is None:
            most = _OPT_PATCHES if max_patches is None else max_patches
            opt_patches = max(min_patches, min(_OPT_PATCHES, most))
        in_order = 1 <= min_patches <= opt_patches
        if not in_order or (max_patches is not None and opt_patches > max_patches):
            raise UsageError(
                "need 1 <= --min-patches <= --opt-patches <= --max-patches, got "
                f"{min_patches}, {opt_patches}, {max_patches}"
            )
        if max_batch is not None and max_batch < 1:
            raise UsageError(f"--max-batch must be at least 1, got {max_batch}")
        if workspace_mb < 1:
            raise UsageError(f"--workspace must be at least 1 MB, got {workspace_mb}")
        return cls(
            format=format,
            checkpoint_sha256=checkpoint_sha256,
            encoder=encoder,
            patches=PatchRange(min=min_patches, opt=opt_patches, max=max_patches),
            max_batch=max_batch,
            target=target,
            workspace_bytes=workspace_mb << 20,
        )
