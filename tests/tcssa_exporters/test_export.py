"""The artefact as a folder."""

from pathlib import Path

import pytest
from factories import make_compressor

from tcssa.artefact import Artefact
from tcssa.errors import UsageError
from tcssa_exporters import export_compressor


def test_the_parity_table_is_stored(onnx_artefact: Path) -> None:
    artefact = Artefact.read(onnx_artefact)
    assert artefact.parity.status.startswith("passed with onnxruntime ")
    assert artefact.parity.tolerance == 2e-5
    assert len(artefact.parity.rows) == 13
    assert {row.routed_alike for row in artefact.parity.rows} == {1.0}
    assert artefact.encoder == "test_encoder"
    assert artefact.precision["gate"] == "float32"
    assert sorted(file.name for file in onnx_artefact.iterdir()) == ["artefact.json", "model.onnx"]


def test_the_same_export_gives_the_same_artefact(onnx_artefact: Path, tmp_path: Path) -> None:
    model = make_compressor(feature_dim=64, num_slots=8)
    export_compressor(model, tmp_path / "b", checkpoint_sha256="c0ffee", encoder="test_encoder")
    for file in onnx_artefact.iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()


def test_an_artefact_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "artefact"
    first = export_compressor(make_compressor(), out, checkpoint_sha256="x")
    with pytest.raises(UsageError, match="holds an artefact already"):
        export_compressor(make_compressor(seed=1), out, checkpoint_sha256="y")
    assert Artefact.read(out) == first
    second = export_compressor(make_compressor(seed=1), out, checkpoint_sha256="y", overwrite=True)
    assert Artefact.read(out) == second != first
    assert list(tmp_path.iterdir()) == [out]


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
        ({"target": "sm89"}, "--target"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        export_compressor(make_compressor(), tmp_path / "a", checkpoint_sha256="x", **limits)  # type: ignore[arg-type]  # one name at a time
    assert list(tmp_path.iterdir()) == []
