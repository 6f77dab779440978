"""Real engines of TensorRT-RTX, which builds without a GPU."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tcssa import SlotCompressor
from tcssa.artefact import Artefact
from tcssa.errors import ArtefactError, DeviceError, MissingExtraError, ParityError, UsageError
from tcssa_exporters import export as export_module
from tcssa_exporters import export_compressor
from tcssa_exporters import tensorrt as tensorrt_module
from tcssa_exporters.verify import Run, onnx_runner

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed"
)


@needs_rtx
def test_an_engine_is_built_and_its_profile_recorded(model: SlotCompressor, tmp_path: Path) -> None:
    out = tmp_path / "artefact"
    artefact = export_compressor(
        model,
        out,
        format="trt-rtx",
        checkpoint_sha256="x",
        opt_patches=500,
        max_patches=100_000,
        max_batch=8,
        target="sm89",
    )
    assert artefact == Artefact.read(out)
    assert artefact.format == "tensorrt-rtx"
    assert artefact.gpu_targets == ["sm89"]
    assert artefact.patches.model_dump() == {"min": 1, "opt": 500, "max": 100_000}
    assert artefact.max_batch == 8
    assert artefact.models["full"].build["plan_bytes"] == (out / "model.plan").stat().st_size
    # dividing after the product would have TensorRT copy the features, 205 MB here
    assert 0 < int(artefact.models["full"].build["scratch_bytes"]) < 150e6
    assert artefact.parity.status.startswith("not yet run on a GPU")
    assert len(artefact.parity.rows) == 13
    assert "tensorrt_rtx" in artefact.tools
    assert sorted(file.name for file in out.iterdir()) == ["artefact.json", "model.plan"]


@needs_rtx
def test_an_engine_is_run_where_its_gpu_is(
    model: SlotCompressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnx_artefact: Path
) -> None:
    """Plays a GPU: the engine's place is taken by an ONNX file, a right one, then a wrong one."""
    monkeypatch.setattr(export_module, "_runs_here", lambda target: target == "sm89")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    opened: list[Artefact] = []

    class Engine:
        def __init__(self, run: Run) -> None:
            self.run = run

    @contextmanager
    def open_engine(folder: Path) -> Iterator[Engine]:
        opened.append(Artefact.read(folder))
        yield Engine(onnx_runner(onnx_artefact / "model.onnx")[0])

    def export(name: str, which: SlotCompressor) -> Artefact:
        return export_compressor(
            which,
            tmp_path / name,
            format="trt-rtx",
            checkpoint_sha256="x",
            max_patches=1000,
            max_batch=1,
            target="sm89",
            open_engine=open_engine,
        )

    artefact = export("right", model)
    assert opened[0].format == "tensorrt-rtx"
    assert artefact.parity.status.startswith("passed with tensorrt_rtx")
    assert artefact.parity.status.endswith("on a GPU")
    assert {row.batch for row in artefact.parity.rows} == {1}
    other = type(model)(model.config).eval()
    with pytest.raises(ParityError):
        export("wrong", other)
    assert [path.name for path in tmp_path.iterdir()] == ["right"]


@needs_rtx
@pytest.mark.parametrize("target", ["sm90", "sm100"])
def test_data_centre_gpus_need_full_tensorrt(
    target: str, model: SlotCompressor, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"does not support {target}.*needs full TensorRT"):
        export_compressor(
            model, tmp_path / "a", format="trt-rtx", checkpoint_sha256="x", target=target
        )
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_an_unknown_target_is_answered_with_the_known_ones(
    model: SlotCompressor, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"it knows .*sm89"):
        export_compressor(
            model, tmp_path / "a", format="trt-rtx", checkpoint_sha256="x", target="rtx4090"
        )


@needs_rtx
def test_a_workspace_below_the_need_fails_cleanly(model: SlotCompressor, tmp_path: Path) -> None:
    with pytest.raises(
        ArtefactError, match=r"could not build the engine: .*(memory|Memory|workspace)"
    ) as caught:
        export_compressor(
            model,
            tmp_path / "a",
            format="trt-rtx",
            checkpoint_sha256="x",
            target="sm89",
            workspace_mb=1,
        )
    assert caught.value.hint is not None
    assert "--workspace" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_a_graph_that_cannot_be_parsed_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    from tcssa.artefact import PatchRange
    from tcssa_exporters.options import ExportOptions

    options = ExportOptions("tensorrt-rtx", "x", None, PatchRange(min=1, opt=1, max=1), 1, None, 1)
    with pytest.raises(ArtefactError, match="cannot parse"):
        tensorrt_module.build_engine(
            tmp_path / "m.onnx", tmp_path / "m.plan", "tensorrt-rtx", options
        )


def installed(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(
        tensorrt_module.importlib.util,
        "find_spec",
        lambda name: object() if name in modules else None,
    )


def test_trt_takes_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "tensorrt", "tensorrt_rtx")
    assert tensorrt_module.flavour("trt") == "tensorrt"
    assert tensorrt_module.flavour("trt-rtx") == "tensorrt-rtx"
    installed(monkeypatch, "tensorrt_rtx")
    assert tensorrt_module.flavour("trt") == "tensorrt-rtx"


def test_a_missing_tensorrt_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    with pytest.raises(MissingExtraError) as caught:
        tensorrt_module.flavour("trt")
    assert caught.value.hint is not None
    assert "tcssa[tensorrt]" in caught.value.hint
    assert "tcssa[tensorrt-rtx]" in caught.value.hint
    installed(monkeypatch, "tensorrt")
    with pytest.raises(MissingExtraError) as caught:
        tensorrt_module.flavour("trt-rtx")
    assert caught.value.extra == "tensorrt-rtx"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_full_tensorrt_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_module, "require", lambda *_: None)
    with pytest.raises(DeviceError, match="no CUDA device"):
        tensorrt_module.check_target("tensorrt", None)
