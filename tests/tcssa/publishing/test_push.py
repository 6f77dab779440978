"""What is pushed of each kind of model, and what is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from exports import Exported
from factories import make_compressor, reference_state
from hub_server import LIBRARY_WARNS, Hub, on_loopback

from tcssa import load_compressor
from tcssa.artefact import Artefact
from tcssa.compressor import save_compressor
from tcssa.errors import FileError, UsageError
from tcssa.hub import local_model
from tcssa.publishing.model_files import model_files
from tcssa.publishing.push import push
from tcssa.reporter import Silent

pytestmark = LIBRARY_WARNS

REPO = "lab/lung"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with on_loopback(tmp_path / "cache") as served:
        yield served


@pytest.fixture
def compressor(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    save_compressor(make_compressor(16, seed=1), path, "test_encoder")
    return path


def test_a_compressor_is_pushed_as_it_is(hub: Hub, compressor: Path) -> None:
    pushed = push(compressor, REPO, Silent(), public=True)
    assert not hub.private[REPO]
    assert pushed.files == ["README.md", "checkpoint.safetensors", "checksums.json"]
    assert hub.commits[REPO][-1][1]["checkpoint.safetensors"] == compressor.read_bytes()


def test_a_file_that_the_model_no_longer_has_is_removed(hub: Hub, compressor: Path) -> None:
    push(compressor, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    hub.commit(REPO, {**files, "fold-4/checkpoint.safetensors": b"old"})
    push(compressor, REPO, Silent())
    assert "fold-4/checkpoint.safetensors" not in hub.commits[REPO][-1][1]


def test_a_repository_of_other_files_is_left_alone(hub: Hub, compressor: Path) -> None:
    hub.commit(REPO, {"pytorch_model.bin": b"somebody's"})
    with pytest.raises(UsageError, match=r"holds pytorch_model\.bin, which tcssa did not push"):
        push(compressor, REPO, Silent())
    assert len(hub.commits[REPO]) == 1


def test_an_artefact_is_its_manifest_and_graph(hub: Hub, exported: Exported) -> None:
    folder = exported()
    push(folder, REPO, Silent())
    fetched = local_model(f"hf:{REPO}", Silent())
    assert Artefact.read(fetched) == Artefact.read(folder)


def test_a_file_of_the_reference_which_is_a_pickle_becomes_safetensors(
    hub: Hub, tmp_path: Path
) -> None:
    model = make_compressor(16, seed=3)
    state = reference_state(model, "compressor.")
    torch.save({"model_state_dict": state}, tmp_path / "best_model.pth")
    pushed = push(tmp_path / "best_model.pth", REPO, Silent())
    assert [name for name in pushed.files if "checkpoint" in name] == ["checkpoint.safetensors"]
    weights = load_compressor(f"hf:{REPO}").state_dict()
    assert all(weights[name].equal(value) for name, value in model.state_dict().items())


def test_an_unfinished_run_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 1, "kind": "train-mil"}')
    with pytest.raises(FileError, match="is no finished run"):
        model_files(tmp_path)


def test_a_run_of_train_vqa_is_not_shared_yet(tmp_path: Path) -> None:
    (tmp_path / "vqa.json").write_text("{}")
    with pytest.raises(UsageError, match="is a run of train-vqa") as caught:
        model_files(tmp_path)
    assert "compressor.safetensors" in str(caught.value.hint)
