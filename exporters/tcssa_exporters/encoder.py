"""Exports of encoders as an ONNX graph or a TensorRT engine, from bytes of patches to features.

The graph is compared with torch before the folder gets its name; a deviation leaves no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import Format
from tcssa.encoders.base import EncoderSpec, Network
from tcssa.encoders.exported import EncoderParity, ExportedEncoder, is_exported
from tcssa.encoders.onnx_export import INPUT_NAME, OUTPUT_NAME
from tcssa.errors import ParityError, UsageError
from tcssa.files.checksums import file_sha256
from tcssa.reporter import Reporter, Silent
from tcssa_exporters.onnx import write_onnx
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.parts import NamedTensor, Part
from tcssa_exporters.staging import staged_folder
from tcssa_exporters.tensorrt import Flavour, build_engine, check_targets, flavour
from tcssa_exporters.tools import tool_versions

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest entry of a feature."""

_DEFAULT_MAX_BATCH = 64


def export_encoder(
    spec: EncoderSpec,
    out: Path,
    *,
    format: Literal["onnx", "trt", "trt-rtx"] = "onnx",
    max_batch: int | None = None,
    targets: Sequence[str] = (),
    workspace_mb: int = 2048,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> ExportedEncoder:
    """Export an encoder and verify that the graph computes the same features.

    Args:
        spec: The encoder, which must be a torch network.
        out: The folder to create. ``onnx:OUT`` is then an encoder of the same name.
        format: ``onnx``; ``trt`` for the TensorRT that is installed; ``trt-rtx``.
        max_batch: Most patches that an engine takes at once, by default 64.
        targets: GPUs to build an engine for, such as ``sm89``.
        workspace_mb: Most scratch memory that an engine may use, in MiB.
        overwrite: Replace an exported encoder at ``out``.
        reporter: Receives a note on every stage.

    Returns:
        The description, as written to ``encoder.json``.

    Raises:
        UsageError: The encoder is no torch network, ``out`` is in use, or an option has no meaning
            for the format.
        ParityError: The exported graph differs from torch.
        ArtefactError: The ONNX checker or the engine's builder refused the graph.
        DeviceError: Full TensorRT was asked for on a machine without a GPU.
        MissingExtraError: The TensorRT asked for is not installed.
    """
    load = _loader(spec)
    from tcssa.encoders.pixels import PixelsToFeatures

    if format != "onnx" and max_batch is None:
        max_batch = _DEFAULT_MAX_BATCH
    options = _options(format, max_batch, targets, workspace_mb)
    reporter = reporter or Silent()
    with staged_folder(out, "exported encoder", is_exported, overwrite=overwrite) as folder:
        reporter.note(f"loading {spec.name}")
        network = load()
        part = _part(PixelsToFeatures(network), network)
        reporter.note("tracing to ONNX and checking the file")
        graph = folder / "model.onnx"
        data = write_onnx(part, graph, {"encoder": spec.name, "weights_hash": spec.weights_hash})
        reporter.note("comparing with torch: ONNX Runtime")
        parity = compare(part.module, graph, network.input_px)
        written = _Written(graph, data, tool_versions())
        if options.format != "onnx":
            reporter.note(f"building the engine with {options.format}")
            written = _replaced_by_engine(written, part, options.format, options)
        made = _described(spec, network, written, parity, options.format, max_batch)
        made.write(folder)
    return made


def _loader(spec: EncoderSpec) -> Callable[[], Network]:
    """Return what loads an encoder's network.

    Raises:
        UsageError: It is no torch network.
    """
    if spec.network is None:
        raise UsageError(
            f"{spec.name} is no torch network, so there is nothing to export",
            hint="tcssa encoders lists those that are",
        )
    return spec.network


@dataclass(frozen=True)
class _Written:
    """The files in the folder so far, and the tools that made them."""

    model: Path
    data: Sequence[Path]
    tools: dict[str, str]
    build: dict[str, int | str] = field(default_factory=dict)


def _described(
    spec: EncoderSpec,
    network: Network,
    written: _Written,
    parity: list[EncoderParity],
    format: Format,
    max_batch: int | None,
) -> ExportedEncoder:
    return ExportedEncoder(
        format=format,
        file=written.model.name,
        sha256=file_sha256(written.model),
        data_files={path.name: file_sha256(path) for path in written.data},
        name=spec.name,
        weights_hash=spec.weights_hash,
        feature_dim=network.feature_dim,
        input_px=network.input_px,
        mean=tuple(network.mean),
        std=tuple(network.std),
        trained_mpp=spec.trained_mpp,
        max_batch=max_batch,
        tolerance=TOLERANCE,
        parity=parity,
        not_run=None if format == "onnx" else "the engine: not yet run on a GPU",
        tools=written.tools,
        build=written.build,
    )


def _options(
    format: Literal["onnx", "trt", "trt-rtx"],
    max_batch: int | None,
    targets: Sequence[str],
    workspace_mb: int,
) -> ExportOptions:
    """Resolve and check the options of a graph that takes whole batches."""
    kind = "onnx" if format == "onnx" else flavour(format)
    # a chunked engine is tuned for its largest batch, which is the usual one for patches
    options = ExportOptions.resolve(
        kind,
        {
            "graph": "full" if kind == "onnx" else "chunked",
            "max_batch": max_batch,
            "targets": targets,
            "workspace_mb": workspace_mb,
        },
    )
    if options.format != "onnx":
        check_targets(options.format, options.targets, "fp32")
    return options


def _replaced_by_engine(
    graph: _Written, part: Part, kind: Flavour, options: ExportOptions
) -> _Written:
    """Build an engine from a graph, and replace the graph's files by it."""
    plan = graph.model.with_name("model.plan")
    built = build_engine(graph.model, plan, kind, part, options)
    facts = {"onnx_sha256": file_sha256(graph.model), **built.facts}
    for path in (graph.model, *graph.data):
        path.unlink()
    return _Written(plan, (), {**graph.tools, built.module: built.version}, facts)


def _part(module: nn.Module, network: Network) -> Part:
    side = network.input_px
    patches = NamedTensor(INPUT_NAME, "uint8", ("batch", side, side, 3))
    features = NamedTensor(OUTPUT_NAME, "float32", ("batch", network.feature_dim))
    return Part("encoder", module, (patches,), (features,))


def compare(module: nn.Module, graph: Path, input_px: int) -> list[EncoderParity]:
    """Compare a graph with torch on random and constant patches, in batches of one and three.

    Args:
        module: The encoder in torch, from bytes of patches to features.
        graph: The ONNX file.
        input_px: Side of the patches, in pixels.

    Returns:
        One row per batch.

    Raises:
        ParityError: The graph's features differ from torch's by more than `TOLERANCE`.
    """
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    rows = []
    for name, patches in _cases(input_px):
        with torch.inference_mode():
            expected = module(torch.from_numpy(patches)).numpy()
        (found,) = session.run([OUTPUT_NAME], {INPUT_NAME: patches})
        scale = max(float(np.abs(expected).max()), 1e-12)
        relative = float(np.abs(found - expected).max()) / scale
        rows.append(EncoderParity(patches=name, batch=len(patches), relative=relative))
        if not relative <= TOLERANCE:  # also true of NaN
            raise ParityError(
                f"the exported encoder differs from torch by {relative:.1e} (relative) on "
                f"{len(patches)} {name} patches; {TOLERANCE:g} is allowed"
            )
    return rows


def _cases(side: int) -> list[tuple[str, NDArray[np.uint8]]]:
    random = np.random.default_rng(0)
    cases = []
    for batch in (1, 3):
        shape = (batch, side, side, 3)
        cases.append(("random", random.integers(0, 256, shape, dtype=np.uint8)))
        levels = random.integers(0, 256, (batch, 1, 1, 3), dtype=np.uint8)
        cases.append(("constant", np.ascontiguousarray(np.broadcast_to(levels, shape))))
    return cases
