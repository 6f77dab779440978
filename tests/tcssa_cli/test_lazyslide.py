"""LazySlide's stores as input of the commands that take features."""

from pathlib import Path

import pytest
from command_line import SMALL, Run
from factories import make_compressor
from lazyslide_stores import write_store

from tcssa.compressor import save_compressor

pytest.importorskip("zarr")
pytest.importorskip("pyarrow")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_compressor(make_compressor(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    for name in "abcdef":
        write_store(tmp_path / f"stores/{name}.zarr", num_tiles=12 + ord(name) % 3)
    return tmp_path / "stores"


def test_a_store_and_a_folder_of_stores_are_encoded(
    tcssa: Run, model: Path, stores: Path, tmp_path: Path
) -> None:
    arguments = ("--model", model, "--json")
    one = tcssa("encode", stores / "a.zarr", "--out", tmp_path / "one", *arguments)
    assert (one.code, one.json["num_encoded"], one.json["failed"]) == (0, 1, [])
    folder = tcssa("encode", stores, "--out", tmp_path / "all", *arguments)
    assert (folder.code, folder.json["num_encoded"], folder.json["failed"]) == (0, 6, [])
    named = tcssa("encode", f"{stores}::test_encoder", "--out", tmp_path / "named", *arguments)
    assert named.json["num_encoded"] == 6


def test_what_inspect_recommends_works(
    tcssa: Run, model: Path, stores: Path, tmp_path: Path
) -> None:
    following = tcssa("inspect", stores, "--json").json["next"].split()
    assert following[:3] == ["tcssa", "encode", str(stores)]
    words = {"MODEL": str(model), "ENCODED": str(tmp_path / "encoded")}
    done = tcssa(*(words.get(word, word) for word in following[1:]), "--json")
    assert done.json["num_encoded"] == 6


def test_stores_are_a_cohort_to_train_on(tcssa: Run, stores: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("slide_id,label\n" + "".join(f"{n},{n in 'abc'}\n" for n in "abcdef"))
    run = tmp_path / "run"
    arguments = ("--labels", labels, "--features", stores, "--out", run)
    done = tcssa("train-mil", *arguments, *SMALL, "--epochs", 1, "--json")
    assert done.code == 0, done.stderr
    assert len((run / "predictions.csv").read_text().splitlines()) == 7


def test_slides_beside_stores_are_refused_with_both_readings(
    tcssa: Run, model: Path, stores: Path, tmp_path: Path
) -> None:
    (stores / "a.svs").touch()
    done = tcssa("encode", stores, "--model", model, "--out", tmp_path / "out")
    assert done.code == 2
    assert "holds slides (a.svs) and features (" in done.stderr
    assert f"'{stores}/*.zarr'" in done.stderr.replace("\n", "")
