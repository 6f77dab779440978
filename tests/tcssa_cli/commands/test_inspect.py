"""`tcssa inspect` on everything the toolkit writes, and on what it does not know."""

import json
from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag


@pytest.fixture(scope="module")
def encoded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an artefact and slides encoded by it."""
    from tcssa_cli.main import run

    folder = tmp_path_factory.mktemp("encoded")
    arguments = ["export", trained / "run", "--graph", "chunked", "--out", folder / "artefact"]
    assert run([str(a) for a in arguments]) == 0
    write_bag(folder / "bags" / "bad.h5", feature_dim=3)
    paths = [trained / "features", folder / "bags", "--model", folder / "artefact"]
    assert run([str(a) for a in ["encode", *paths, "--out", folder / "out"]]) == 1
    return folder


def test_an_artefact(tcssa: Run, encoded: Path) -> None:
    done = tcssa("inspect", encoded / "artefact")
    assert done.code == 0
    assert "artefact: compressor, chunked, for onnx" in done.stdout
    assert "gate: float32" in done.stdout
    found = tcssa("inspect", encoded / "artefact", "--json").json
    assert found["facts"]["parity"].startswith("passed with onnxruntime")
    assert {row["tensor"] for row in found["Tensors"]} >= {"features", "lengths", "mean", "slots"}
    assert [row["file"] for row in found["Files"]] == ["partial.onnx", "finish.onnx"]


def test_an_artefact_that_was_altered(tcssa: Run, encoded: Path) -> None:
    import shutil

    copy = encoded / "altered"
    shutil.copytree(encoded / "artefact", copy)
    (copy / "finish.onnx").write_bytes(b"something else")
    done = tcssa("inspect", copy)
    assert done.code == 1
    assert "is not the file the artefact was made with" in done.stderr


def test_a_run_a_fold_and_a_checkpoint(tcssa: Run, trained: Path) -> None:
    found = tcssa("inspect", trained / "run", "--json").json
    assert found["kind"] == "run of train-mil"
    assert found["facts"]["cohort.classes"] == ["a", "b"]
    assert found["next"] == f"tcssa export {trained / 'run'} --out ARTEFACT"
    fold = tcssa("inspect", trained / "run" / found["facts"]["selected"], "--json").json
    assert fold["kind"] == "checkpoint: classifier, compressor"
    assert fold["facts"]["compressor.top_k"] == 2
    assert fold["facts"]["parameters"] > 0


def test_features_and_what_was_encoded_of_them(tcssa: Run, trained: Path, encoded: Path) -> None:
    folder = tcssa("inspect", trained / "features", "--json").json
    files = sorted((trained / "features").glob("*.h5"))
    assert folder["facts"]["slides"] == len(files)
    bag = tcssa("inspect", files[0], "--json").json
    assert bag["kind"] == "patch features of one slide"
    slide = tcssa(
        "inspect", encoded / "out" / "slide_features_tcssa" / files[0].name, "--json"
    ).json
    assert slide["kind"] == "encoded slide"
    assert slide["facts"]["num_patches"] == bag["facts"]["patches"]
    archive = tcssa("inspect", encoded / "out", "--json").json
    assert archive["kind"] == "encoded archive"
    assert archive["facts"]["slides"] == len(files)
    assert archive["facts"]["failed"] == 1
    assert archive["facts"]["patches"] == folder["facts"]["patches"]


def test_what_is_not_ours(tcssa: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    done = tcssa("inspect", tmp_path / "notes.txt")
    assert done.code == 2
    assert "is nothing that tcssa knows" in done.stderr
    assert tcssa("inspect", tmp_path / "nowhere").code == 1
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    assert tcssa("inspect", tmp_path / "broken.h5").code == 1


def test_what_a_terminal_would_obey_is_not_printed(tcssa: Run, tmp_path: Path) -> None:
    said = {"schema_version": 1, "kind": "x\x1b[2J", "a\x1b]0;b": "\x1b[31mred", "rows": ["\x9b1m"]}
    (tmp_path / "run.json").write_text(json.dumps(said))
    done = tcssa("inspect", tmp_path)
    assert done.code == 0
    assert "red" in done.stdout
    assert not {"\x1b", "\x9b"} & set(done.stdout + done.stderr)
