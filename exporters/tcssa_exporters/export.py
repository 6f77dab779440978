"""Export of a model as an artefact on disk.

The stages are: trace to ONNX, compare with torch, build engines if they are asked for, write
``artefact.json``, run the engines if their GPU is in this machine, rename into place. A stage that
fails leaves no files behind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from tcssa.artefact import Artefact, ModelFile, Parity, ParityRow
from tcssa.errors import UsageError
from tcssa.files.checksums import file_sha256
from tcssa.reporter import Reporter, Silent, Task
from tcssa_exporters.metadata import onnx_metadata
from tcssa_exporters.onnx import write_onnx
from tcssa_exporters.options import ExportOptions, ExportRequest
from tcssa_exporters.parts import Part, make_parts
from tcssa_exporters.runners import (
    Call,
    EngineRuntime,
    chunked_run,
    engine_run,
    full_run,
    onnx_call,
    rounded_calls,
)
from tcssa_exporters.source import ExportSource
from tcssa_exporters.staging import staged_artefact
from tcssa_exporters.tensorrt import build_engine, check_targets, flavour
from tcssa_exporters.tools import tool_versions
from tcssa_exporters.verify import Run, Verifier

if TYPE_CHECKING:
    from tcssa import SlotCompressor

ExportFormat = Literal["onnx", "trt", "trt-rtx"]

NOT_RUN = "not yet run on a GPU"

_FILE_STEMS = {"full": "model", "partial": "partial", "finish": "finish"}

OpenEngine = Callable[[Path], AbstractContextManager[EngineRuntime]]


class _Options(ExportRequest, total=False):
    """Options of `export_model`."""

    format: ExportFormat
    overwrite: bool
    open_engine: OpenEngine | None
    reporter: Reporter | None


def export_model(
    source: ExportSource,
    out: Path,
    *,
    format: ExportFormat = "onnx",
    overwrite: bool = False,
    open_engine: OpenEngine | None = None,
    reporter: Reporter | None = None,
    **request: Unpack[ExportRequest],
) -> Artefact:
    """Export a model and verify that the artefact computes the same.

    Args:
        source: The model, see `open_source`; it is not changed.
        out: The artefact's folder.
        format: ``onnx``; ``trt`` for the TensorRT that is installed; ``trt-rtx``.
        overwrite: Replace an artefact at ``out``.
        open_engine: Opens the runtime of an artefact's folder, to run new engines if this machine
            has the GPU for them; exporters do not import runtimes, so the caller passes it.
        reporter: Receives a note on every stage.
        **request: Precision, graph and limits; see `ExportRequest`.

    Returns:
        The description, as written to ``artefact.json``.

    Raises:
        UsageError: Options contradict each other or the model, a target cannot be built for, or
            ``out`` is in use.
        MissingExtraError: The TensorRT asked for is not installed.
        DeviceError: Full TensorRT was asked for on a machine without a GPU.
        ParityError: The exported model differs from torch.
        ArtefactError: The ONNX checker or the engine's builder refused the graph.
    """
    kind = "onnx" if format == "onnx" else flavour(format)
    options = ExportOptions.resolve(kind, request)
    if source.others and source.config.spatial and options.graph == "chunked":
        raise UsageError(
            "each model of an ensemble places its slots about a centre of its own, which a chunked "
            "pair cannot state",
            hint="leave --graph chunked out, or export one fold",
        )
    if options.format != "onnx":
        check_targets(options.format, options.targets, options.precision.name)
    if not options.runs_here():
        open_engine = None
    reporter = reporter or Silent()
    total = _count_stages(options, compares_engines=open_engine is not None)
    with (
        staged_artefact(out, overwrite=overwrite) as folder,
        reporter.task(f"export to {options.format}", total=total, unit="stages") as task,
    ):
        export = _Export(source, options, folder, _Stages(task, reporter, total))
        return export.make(open_engine)


def export_compressor(
    model: SlotCompressor,
    out: Path,
    *,
    checkpoint_sha256: str,
    encoder: str | None = None,
    **options: Unpack[_Options],
) -> Artefact:
    """Export a compressor alone, as `export_model` does.

    Args:
        model: The compressor.
        out: The artefact's folder.
        checkpoint_sha256: Hash of the file that the model was loaded from.
        encoder: Name of the encoder of the features it was trained on, if known.
        **options: All that `export_model` takes by name.

    Returns:
        The description, as written to ``artefact.json``.
    """
    return export_model(ExportSource(model, checkpoint_sha256, encoder), out, **options)


class _Stages:
    """Reports each stage in a line."""

    def __init__(self, task: Task, reporter: Reporter, total: int) -> None:
        self._task, self._reporter, self._total = task, reporter, total
        self._begun = 0

    def begin(self, text: str) -> None:
        """Begin a stage, which ends the one before."""
        if self._begun:
            self._task.advance()
        self._begun += 1
        self._task.describe(text)
        self._reporter.note(f"{self._begun}/{self._total}  {text}")

    def end(self) -> None:
        """End the last stage."""
        self._task.advance()


@dataclass(frozen=True)
class _Export:
    """One export in progress."""

    source: ExportSource
    options: ExportOptions
    folder: Path
    stages: _Stages

    def make(self, open_engine: OpenEngine | None) -> Artefact:
        """Write the artefact into the folder."""
        parts = make_parts(self.source, self.options)
        models = {part.name: self._write_onnx(part) for part in parts}
        verifier = Verifier(self.source, self.options.precision)
        artefact = self._artefact(models, self._compare_onnx(verifier, models))
        if self.options.is_engine:
            artefact = self._replace_by_engines(artefact, parts)
        artefact.write(self.folder)
        if open_engine is not None:
            parity = self._compare_engines(verifier, artefact, open_engine)
            artefact = artefact.model_copy(update={"parity": parity})
            artefact.write(self.folder)
        self.stages.end()
        return artefact

    def _write_onnx(self, part: Part) -> ModelFile:
        self.stages.begin(f"tracing {part.name} to ONNX and checking the file")
        path = self.folder / f"{_FILE_STEMS[part.name]}.onnx"
        data_files = write_onnx(part, path, onnx_metadata(part, self.source, self.options))
        return ModelFile(
            file=path.name,
            sha256=file_sha256(path),
            data_files={file.name: file_sha256(file) for file in data_files},
            inputs=[tensor.spec for tensor in part.inputs],
            outputs=[tensor.spec for tensor in part.outputs],
            max_batch=self.options.max_slides if part.name == "finish" else self.options.max_batch,
        )

    def _compare_onnx(self, verifier: Verifier, models: dict[str, ModelFile]) -> Parity:
        """Compare the files with torch: as they are, and in half precision with every rounding."""
        precision = self.options.precision
        paths = [self.folder / model.file for model in models.values()]
        tool = f"onnxruntime {tool_versions()['onnxruntime']}"
        large_bag = precision.compute == "float16"
        rows: list[ParityRow] = []
        if precision.compute != "bfloat16":  # ONNX Runtime's CPU provider does not load it
            self.stages.begin(f"comparing with torch: {tool}")
            run = self._run([onnx_call(path) for path in paths])
            rows += verifier.verify(run, tool, large_bag=large_bag)
        if precision.is_half:
            self.stages.begin(f"comparing with torch: {tool}, every 16-bit result rounded")
            with rounded_calls(paths) as calls:
                rows += verifier.verify(self._run(calls), f"{tool}, rounded", large_bag=large_bag)
        return Parity(
            status=f"passed with {rows[-1].runner}",
            tolerance=precision.tolerance,
            reason=precision.reason,
            not_run=precision.not_run(),
            rows=rows,
        )

    def _run(self, calls: list[Call]) -> Run:
        """Join the artefact's graphs into one function on padded batches."""
        if self.options.chunk_patches is None:
            (full,) = calls
            return full_run(full)
        partial, finish = calls
        return chunked_run(partial, finish, self.options.chunk_patches)

    def _artefact(self, models: dict[str, ModelFile], parity: Parity) -> Artefact:
        source, options = self.source, self.options
        config = source.config
        return Artefact(
            format="onnx",
            what=source.what,
            graph=options.graph,
            models=models,
            feature_dim=config.patch_dim,
            slot_dim=config.feature_dim,
            num_slots=config.num_slots,
            top_k=config.top_k,
            members=len(source.members),
            salience=config.salience,
            nested=config.nested,
            auto_share=config.auto_share,
            spatial=config.spatial,
            head_takes_mass=any(
                getattr(head, "needs_mass", False) for head in source.heads.values()
            ),
            precision=options.precision.stages(
                head=bool(source.heads), embedding=config.embedded_from is not None
            ),
            patches=options.patches,
            chunk_patches=options.chunk_patches,
            max_batch=options.max_batch,
            encoder=source.encoder,
            extraction=source.extraction,
            classes=source.classes,
            calibration=dict(source.calibration),
            token_dim=source.token_dim,
            checkpoint_sha256=source.checkpoint_sha256,
            head_sha256=source.head_sha256,
            parity=parity,
            tools=tool_versions(),
        )

    def _replace_by_engines(self, artefact: Artefact, parts: list[Part]) -> Artefact:
        """Build an engine from each ONNX file, and replace the file by it."""
        kind = self.options.format
        assert kind != "onnx"
        engines = {}
        tools = dict(artefact.tools)
        for part in parts:
            graph = artefact.models[part.name]
            self.stages.begin(f"building the engine of {part.name} with {kind}")
            plan = self.folder / f"{_FILE_STEMS[part.name]}.plan"
            built = build_engine(self.folder / graph.file, plan, kind, part, self.options)
            tools[built.module] = built.version
            engines[part.name] = graph.model_copy(
                update={
                    "file": plan.name,
                    "sha256": file_sha256(plan),
                    "data_files": {},
                    "build": {"onnx_sha256": graph.sha256, **built.facts},
                }
            )
            for name in (graph.file, *graph.data_files):
                (self.folder / name).unlink()
        parity = artefact.parity
        return artefact.model_copy(
            update={
                "format": kind,
                "models": engines,
                "parity": parity.model_copy(
                    update={
                        "status": f"{NOT_RUN}; its ONNX graph {parity.status}",
                        "not_run": [f"the engine: {NOT_RUN}"],
                    }
                ),
                "tools": tools,
                "gpu_targets": self.options.gpu_targets(),
            }
        )

    def _compare_engines(
        self, verifier: Verifier, artefact: Artefact, open_engine: OpenEngine
    ) -> Parity:
        import torch

        tool = f"{artefact.format} on {torch.cuda.get_device_name()}"
        self.stages.begin(f"comparing with torch: {tool}")
        with open_engine(self.folder) as runtime:
            rows = verifier.verify(
                engine_run(runtime, list(self.source.heads)),
                tool,
                max_patches=self.options.patches.max,
                max_batch=self.options.max_batch,
            )
        return artefact.parity.model_copy(
            update={
                "status": f"passed with {tool}",
                "not_run": [],
                "rows": [*artefact.parity.rows, *rows],
            }
        )


def _count_stages(options: ExportOptions, *, compares_engines: bool) -> int:
    """Count the stages of an export; engines are run and compared only where they can be."""
    parts = 2 if options.graph == "chunked" else 1
    comparisons = 2 if options.precision.compute == "float16" else 1
    return parts * (1 + options.is_engine) + comparisons + compares_engines
