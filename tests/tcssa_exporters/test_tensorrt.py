"""Real engines of TensorRT-RTX, which builds without a GPU."""

import importlib.util
from pathlib import Path

import pytest
import torch
from factories import make_compressor

from tcssa import SlotCompressor
from tcssa.artefact import Artefact
from tcssa.compressor import save_compressor
from tcssa.errors import ArtefactError, DeviceError, MissingExtraError, ParityError, UsageError
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa_exporters import export_compressor, export_model, open_source
from tcssa_exporters import tensorrt as tensorrt_module
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.parts import make_parts
from tcssa_exporters.source import ExportSource
from tcssa_exporters.tensorrt import build_engine
from tcssa_runtimes import Runtime, open_runtime

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
        targets=["sm89"],
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
    assert len(artefact.parity.rows) == 14
    assert "tensorrt_rtx" in artefact.tools
    assert sorted(file.name for file in out.iterdir()) == ["artefact.json", "model.plan"]


@needs_rtx
def test_an_engine_is_run_where_its_gpu_is(
    model: SlotCompressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plays a GPU: torch's runtime stands in the engine's place, of the right model or another."""
    monkeypatch.setattr(ExportOptions, "runs_here", lambda options: options.targets == ("sm89",))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    opened: list[Artefact] = []
    save_compressor(model, tmp_path / "model.safetensors")

    def open_engine(folder: Path) -> Runtime:
        opened.append(Artefact.read(folder))
        return open_runtime(tmp_path / "model.safetensors", device="cpu")

    def export(name: str, which: SlotCompressor) -> Artefact:
        return export_compressor(
            which,
            tmp_path / "artefacts" / name,
            format="trt-rtx",
            checkpoint_sha256="x",
            max_patches=1000,
            max_batch=1,
            targets=["sm89"],
            open_engine=open_engine,
        )

    artefact = export("right", model)
    assert opened[0].format == "tensorrt-rtx"
    assert artefact.parity.status == "passed with tensorrt-rtx on a GPU"
    assert artefact.parity.not_run == []
    on_gpu = [row for row in artefact.parity.rows if row.runner == "tensorrt-rtx on a GPU"]
    assert {row.batch for row in on_gpu} == {1}
    with pytest.raises(ParityError):
        export("wrong", type(model)(model.config).eval())
    assert [path.name for path in (tmp_path / "artefacts").iterdir()] == ["right"]


@needs_rtx
def test_a_chunked_pair_is_two_engines_for_several_gpus(
    model: SlotCompressor, tmp_path: Path
) -> None:
    artefact = export_compressor(
        model,
        tmp_path / "a",
        format="trt-rtx",
        checkpoint_sha256="x",
        precision="fp16",
        graph="chunked",
        targets=["sm89", "sm120"],
    )
    assert artefact.gpu_targets == ["sm120", "sm89"]
    assert {name: model.file for name, model in artefact.models.items()} == {
        "partial": "partial.plan",
        "finish": "finish.plan",
    }
    for graph in artefact.models.values():
        assert int(graph.build["plan_bytes"]) > 0
        assert "scratch_bytes" in graph.build


@needs_rtx
@pytest.mark.parametrize("graph", ["full", "chunked"])
def test_a_projector_s_engine_ends_with_tokens(graph: str, tmp_path: Path) -> None:
    projector = Projector(ProjectorConfig(feature_dim=16, hidden_dim=8, token_dim=12))
    projector.save(tmp_path / "projector.safetensors")
    save_compressor(make_compressor(), tmp_path / "c.safetensors")
    source = open_source(
        tmp_path / "c.safetensors", "projector", projector=tmp_path / "projector.safetensors"
    )
    artefact = export_model(source, tmp_path / "a", format="trt-rtx", graph=graph, targets=["sm89"])
    last = artefact.models["finish" if graph == "chunked" else "full"]
    assert (artefact.what, artefact.token_dim) == ("projector", 12)
    assert (last.outputs[-1].name, last.outputs[-1].shape[1:]) == ("tokens", [6, 12])
    assert (tmp_path / "a" / last.file).stat().st_size == last.build["plan_bytes"] > 0
    assert "tokens" in artefact.parity.rows[0].max_abs_heads


@needs_rtx
def test_turing_does_not_compute_in_bfloat16(model: SlotCompressor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sm75 \(Turing\) does not compute in bfloat16"):
        export_compressor(
            model,
            tmp_path / "a",
            format="trt-rtx",
            checkpoint_sha256="x",
            precision="bf16",
            targets=["sm75", "sm89"],
        )


@pytest.mark.matrix
@needs_rtx
@pytest.mark.parametrize(
    ("request_", "sizes", "limit_mb"),
    [
        ({"max_patches": 100_000, "max_batch": 8}, "full", 300),
        ({"graph": "chunked", "max_batch": 16}, "partial", 50),
        ({"graph": "chunked", "max_batch": 1, "precision": "fp16"}, "partial", 60),
    ],
    ids=["full", "partial", "partial fp16"],
)
def test_scratch_memory_stays_within_its_gate(
    request_: dict[str, int | str], sizes: str, limit_mb: int, tmp_path: Path
) -> None:
    artefact = export_compressor(
        make_compressor(feature_dim=1024, num_slots=32),
        tmp_path / "a",
        format="trt-rtx",
        checkpoint_sha256="x",
        targets=["sm89"],
        **request_,  # type: ignore[arg-type]  # some of the names an export takes
    )
    assert 0 < int(artefact.models[sizes].build["scratch_bytes"]) <= limit_mb * 1_000_000


@needs_rtx
@pytest.mark.parametrize("target", ["sm90", "sm100"])
def test_data_centre_gpus_need_full_tensorrt(
    target: str, model: SlotCompressor, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"does not support {target}.*needs full TensorRT"):
        export_compressor(
            model, tmp_path / "a", format="trt-rtx", checkpoint_sha256="x", targets=[target]
        )
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_an_unknown_target_is_answered_with_the_known_ones(
    model: SlotCompressor, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"it knows .*sm89"):
        export_compressor(
            model, tmp_path / "a", format="trt-rtx", checkpoint_sha256="x", targets=["rtx4090"]
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
            targets=["sm89"],
            workspace_mb=1,
        )
    assert caught.value.hint is not None
    assert "--workspace" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@needs_rtx
def test_a_graph_that_cannot_be_parsed_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    options = ExportOptions.resolve("tensorrt-rtx", {"targets": ["sm89"]})
    (part,) = make_parts(ExportSource(make_compressor(), "x"), options)
    with pytest.raises(ArtefactError, match="cannot parse"):
        build_engine(tmp_path / "m.onnx", tmp_path / "m.plan", "tensorrt-rtx", part, options)


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
        tensorrt_module.check_targets("tensorrt", [], "fp32")
