"""The artefact as a folder."""

import shutil
from pathlib import Path

import pytest
import torch
from exports import CHECKPOINT, PROJECTOR, Exported, write_projector
from factories import make_compressor
from heard import Heard

from tcssa.artefact import Artefact
from tcssa.errors import CheckpointError, UsageError
from tcssa_exporters import export_compressor, open_source


def test_the_parity_table_is_stored(onnx_artefact: Path) -> None:
    artefact = Artefact.read(onnx_artefact)
    assert artefact.parity.status.startswith("passed with onnxruntime ")
    assert artefact.parity.tolerance == 2e-5
    assert len(artefact.parity.rows) == 14
    untied = [row for row in artefact.parity.rows if row.case != "ties"]
    assert {row.routed_alike for row in untied} == {1.0}
    assert artefact.encoder == "test_encoder"
    assert artefact.precision["gate"] == "float32"
    assert sorted(file.name for file in onnx_artefact.iterdir()) == ["artefact.json", "model.onnx"]


def test_an_artefact_is_replaced_only_when_asked_and_stage_by_stage(
    exported: Exported, tmp_path: Path
) -> None:
    out = shutil.copytree(exported(), tmp_path / "artefact")
    first = Artefact.read(out)
    with pytest.raises(UsageError, match="holds an artefact already"):
        export_compressor(make_compressor(seed=1), out, checkpoint_sha256="y")
    assert Artefact.read(out) == first
    listener = Heard()
    second = export_compressor(
        make_compressor(seed=1),
        out,
        checkpoint_sha256="y",
        overwrite=True,
        graph="chunked",
        reporter=listener,
    )
    assert Artefact.read(out) == second != first
    assert list(tmp_path.iterdir()) == [out]
    assert [note[:3] for note in listener.notes] == ["1/3", "2/3", "3/3"]
    assert "comparing with torch" in listener.notes[-1]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no artefact"):
        export_compressor(make_compressor(), tmp_path, checkpoint_sha256="x", overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_patches": 0}, "--min-patches"),
        ({"opt_patches": 10, "max_patches": 5}, "--max-patches"),
        ({"min_patches": 10, "max_patches": 5}, "--max-patches"),
        ({"max_patches": 0}, "--max-patches"),
        ({"max_batch": 0}, "--max-batch"),
        ({"workspace_mb": 0}, "--workspace"),
        ({"targets": ["sm89"]}, "--target"),
        ({"chunk_patches": 10}, "--chunk-patches"),
        ({"graph": "chunked", "max_patches": 10}, "--max-patches"),
        ({"graph": "chunked", "chunk_patches": 0}, "--chunk-patches"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export_compressor(make_compressor(), tmp_path / "a", checkpoint_sha256="x", **limits)  # type: ignore[arg-type]  # one name at a time
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("graph", ["full", "chunked"])
@pytest.mark.parametrize(("precision", "rows"), [("fp32", 14), ("fp16", 30), ("bf16", 14)])
def test_every_precision_and_graph_passes_on_every_case(
    precision: str, rows: int, graph: str, exported: Exported
) -> None:
    # the limit is for Triton's tests, which read the same artefacts
    artefact = Artefact.read(exported(precision=precision, graph=graph, max_batch=4))
    assert len(artefact.parity.rows) == rows
    assert max(row.share_of_tolerance for row in artefact.parity.rows) <= 1
    assert artefact.precision["gate"] == "float32"
    compute = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]
    assert artefact.precision["pooling"] == artefact.precision["experts"] == compute
    assert set(artefact.models) == ({"full"} if graph == "full" else {"partial", "finish"})
    assert bool(artefact.parity.not_run) == (precision != "fp32")


def test_the_reference_s_pair_is_exported_as_ours_is(tmp_path: Path) -> None:
    projector, compressor = write_projector(tmp_path), tmp_path / CHECKPOINT
    torch.save(projector.state_dict(), tmp_path / "projector.pt")
    theirs = open_source(compressor, "projector", projector=tmp_path / "projector.pt")
    ours = open_source(compressor, "projector", projector=tmp_path / PROJECTOR)
    assert (theirs.what, theirs.token_dim) == (ours.what, ours.token_dim) == ("projector", 12)
    for source in (theirs, ours):
        ((name, head),) = source.heads.items()
        assert name == "tokens"
        assert head.state_dict().keys() == projector.state_dict().keys()
        for key, value in projector.state_dict().items():
            assert head.state_dict()[key].equal(value)
    with pytest.raises(UsageError, match="comes with no projector"):
        open_source(compressor, "projector")
    with pytest.raises(CheckpointError, match="holds no slide classifier"):
        open_source(compressor, "classifier")


@pytest.mark.parametrize(
    ("precision", "graph"),
    [
        ("fp16", "chunked"),
        ("bf16", "full"),
        pytest.param("fp16", "full", marks=pytest.mark.matrix),
        pytest.param("bf16", "chunked", marks=pytest.mark.matrix),
    ],
)
def test_heads_in_half_precision_pass_parity(
    precision: str, graph: str, exported_with_head: Exported
) -> None:
    folder = exported_with_head(precision=precision, graph=graph)
    artefact = Artefact.read(folder / "artefact")
    assert artefact.precision["head"] == {"fp16": "float16", "bf16": "bfloat16"}[precision]
    deviations = [row.max_abs_heads["tokens"] for row in artefact.parity.rows]
    assert len(deviations) >= 14
    assert max(deviations) > 0
    assert max(row.share_of_tolerance for row in artefact.parity.rows) <= 1
