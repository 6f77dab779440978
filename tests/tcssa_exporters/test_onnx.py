"""The ONNX file itself."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from exports import Exported

from tcssa import SlotCompressor
from tcssa.artefact import Artefact
from tcssa.errors import ParityError
from tcssa.files.checksums import file_sha256
from tcssa_exporters import export_compressor
from tcssa_exporters import onnx as onnx_module
from tcssa_exporters.runners import full_run, onnx_call

EXPORT = """
import sys
from pathlib import Path
from factories import make_compressor
from tcssa_exporters import export_compressor
from tcssa.files.checksums import file_sha256
for precision, graph in (("fp32", "full"), ("fp16", "chunked")):
    out = Path(graph)
    export_compressor(
        make_compressor(), out, checkpoint_sha256="c0ffee", encoder="test_encoder",
        precision=precision, graph=graph, max_batch=4,
    )
    for path in sorted(out.iterdir()):
        print(path, file_sha256(path))
"""


def test_same_checkpoint_gives_the_same_bytes_from_two_folders(
    exported: Exported, tmp_path: Path
) -> None:
    """From two processes, too, whose hashes of strings differ."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    elsewhere = tmp_path / "far" / "away"
    elsewhere.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", EXPORT],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = []
    for precision, graph in (("fp32", "full"), ("fp16", "chunked")):
        here = exported(precision=precision, graph=graph, max_batch=4)
        files = sorted(here.iterdir())
        expected += [f"{graph}/{file.name} {file_sha256(file)}\n" for file in files]
    # names and hashes, and none of the exporter's chatter about this machine
    assert done.stdout == "".join(expected)
    assert done.stdout.count(".onnx ") == 3
    assert done.stderr == ""


def test_nothing_of_this_machine_is_in_the_file(onnx_artefact: Path) -> None:
    content = (onnx_artefact / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"torch.export" not in content
    assert os.fsencode(Path(onnx_module.__file__).parents[2]) not in content


def test_the_file_says_what_it_is(onnx_artefact: Path) -> None:
    model = onnx.load(onnx_artefact / "model.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["tcssa.feature_dim"] == "16"
    assert facts["tcssa.num_slots"] == "6"
    assert facts["tcssa.encoder"] == "test_encoder"
    assert facts["tcssa.checkpoint_sha256"] == "c0ffee"
    assert "finite" in facts["tcssa.padding"]
    assert model.opset_import[0].version == 20
    batch, patches, dim = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, patches.dim_param, dim.dim_value) == ("batch", "patches", 16)


def test_large_weights_go_to_a_file_of_their_own(
    model: SlotCompressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_module, "EXTERNAL_DATA_ABOVE_BYTES", 1000)
    out = tmp_path / "artefact"
    artefact = export_compressor(model, out, checkpoint_sha256="x")
    assert list(artefact.models["full"].data_files) == ["model.onnx.data"]
    assert (out / "model.onnx").stat().st_size < (out / "model.onnx.data").stat().st_size
    assert Artefact.read(out) == artefact
    (out / "model.onnx.data").unlink()
    with pytest.raises(Exception, match="missing"):
        Artefact.read(out)


def test_runs_on_other_sizes_than_it_was_traced_with(onnx_artefact: Path) -> None:
    run = full_run(onnx_call(onnx_artefact / "model.onnx"))
    output = run(np.zeros((5, 1, 16), np.float32), np.array([1, 0, 1, 0, 1]))
    assert output["slots"].shape == (5, 6, 16)
    assert np.isfinite(output["slots"]).all()


def test_a_truncated_file_is_refused(onnx_artefact: Path, tmp_path: Path) -> None:
    content = (onnx_artefact / "model.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ParityError, match="ONNX Runtime refuses the exported graph"):
        onnx_call(tmp_path / "m.onnx")
