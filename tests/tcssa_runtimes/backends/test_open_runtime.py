"""Which runtime a model is opened with, and what is refused."""

from pathlib import Path

import pytest
import torch

from tcssa import SlotCompressor
from tcssa.artefact import MANIFEST_FILE, Artefact
from tcssa.errors import ArtefactError, CheckpointError, DeviceError, UsageError
from tcssa.files.checksums import file_sha256
from tcssa_exporters import export_compressor
from tcssa_runtimes import open_runtime

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


def test_auto_goes_by_what_the_path_is(checkpoint: Path, artefact: Path) -> None:
    by_torch, by_onnx = open_runtime(checkpoint, device="cpu"), open_runtime(artefact)
    assert (by_torch.name, by_onnx.name) == ("torch (cpu)", "onnx (cpu)")
    assert by_torch.facts.encoder == by_onnx.facts.encoder == "test_encoder"
    assert by_torch.facts.sha256 == file_sha256(checkpoint)
    assert by_onnx.facts.sha256 == Artefact.read(artefact).sha256


def test_a_runtime_that_cannot_run_the_model_says_what_to_do(
    checkpoint: Path, artefact: Path
) -> None:
    with pytest.raises(UsageError, match="'torch' cannot run it") as caught:
        open_runtime(artefact, "torch")
    assert "checkpoint" in str(caught.value.hint)
    with pytest.raises(UsageError, match="'trt' cannot run it") as caught:
        open_runtime(artefact, "trt")
    assert "--format trt" in str(caught.value.hint)
    with pytest.raises(UsageError, match="needs an exported artefact") as caught:
        open_runtime(checkpoint, "onnx")
    assert "tcssa export" in str(caught.value.hint)
    with pytest.raises(UsageError, match="part of an artefact"):
        open_runtime(artefact / "model.onnx")


def test_a_broken_model_is_refused(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        open_runtime(tmp_path / "nothing.safetensors")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / MANIFEST_FILE).write_bytes((artefact / MANIFEST_FILE).read_bytes())
    with pytest.raises(ArtefactError, match="missing"):
        open_runtime(broken)
    content = (artefact / "model.onnx").read_bytes()
    (broken / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtefactError, match="not the file the artefact was made with"):
        open_runtime(broken)


def test_an_onnx_file_that_does_not_load_is_one_clear_error(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    facts = Artefact.read(artefact)
    full = facts.models["full"].model_copy(update={"sha256": file_sha256(tmp_path / "model.onnx")})
    facts = facts.model_copy(update={"models": {"full": full}})
    facts.write(tmp_path)
    with pytest.raises(ArtefactError, match="cannot load it"), open_runtime(tmp_path):
        pass


@no_cuda
def test_cuda_that_is_not_there_is_an_error_and_no_fallback(
    checkpoint: Path, artefact: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DeviceError):
        open_runtime(checkpoint, device="cuda")
    with pytest.raises(DeviceError, match="CUDA"), open_runtime(artefact, device="cuda"):
        pass
    assert capfd.readouterr() == ("", ""), "ONNX Runtime's own complaint reached the terminal"


@no_cuda
def test_an_engine_without_a_gpu_is_an_error_before_tensorrt_is_touched(
    model: SlotCompressor, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    export_compressor(
        model, tmp_path / "a", format="trt-rtx", checkpoint_sha256="x", targets=["sm89"]
    )
    with pytest.raises(DeviceError, match="no CUDA device"), open_runtime(tmp_path / "a"):
        pass
    with pytest.raises(UsageError, match="runs on a GPU only"):
        open_runtime(tmp_path / "a", device="cpu")
    with pytest.raises(UsageError, match="'onnx' cannot run it"):
        open_runtime(tmp_path / "a", "onnx")
