"""Where weights are looked for, and what a user is told when they are nowhere."""

from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError

from tcssa.encoders import encoder_spec, list_encoders
from tcssa.encoders.catalogue import ENTRIES
from tcssa.encoders.weights import WeightsFile, cached, find, load_into, under_one_prefix
from tcssa.errors import CheckpointError, MissingDataError, UsageError


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def put_into_cache(folder: Path, repo: str, file: str, content: bytes) -> None:
    """As the hub's library lays files down."""
    root = folder / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / file).write_bytes(content)


def test_a_gated_model_that_is_missing_says_whom_to_ask_and_where_to_put_it() -> None:
    with pytest.raises(MissingDataError) as caught:
        find("uni_v2", ENTRIES["uni_v2"].source)
    assert "MahmoodLab/UNI2-h (gated" in str(caught.value)
    hint = str(caught.value.hint)
    assert "ask for access on the page of the model MahmoodLab/UNI2-h" in hint
    assert "hf auth login" in hint
    assert "HF_TOKEN" in hint
    assert "pytorch_model.bin" in hint
    assert "--weights FILE" in hint


def test_a_refused_token_is_told_in_one_line_without_a_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert issubclass(GatedRepoError, OSError)  # of which one is raised here

    def refuse(*_args: object, **_kwargs: object) -> str:
        raise OSError("Access to https://hub/UNI2-h is\nrestricted.")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(MissingDataError) as caught:
        find("uni_v2", ENTRIES["uni_v2"].source)
    assert "restricted" in str(caught.value)
    assert "http" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_open_model_asks_for_no_access() -> None:
    with pytest.raises(MissingDataError) as caught:
        find("midnight12k", ENTRIES["midnight12k"].source)
    assert "ask for access" not in str(caught.value.hint)
    assert "kaiko-ai/midnight (free to download)" in str(caught.value)


def test_the_hubs_cache_is_enough(hub_cache: Path) -> None:
    source = ENTRIES["virchow"].source
    assert cached(source) is None
    put_into_cache(hub_cache, source.repo, "model.safetensors", b"weights")  # the second name
    assert find("virchow", source).read_bytes() == b"weights"
    here = {facts.name for facts in list_encoders() if facts.is_here}
    assert here == {"efficientnet_lite0", "efficientnet_lite0_random", "virchow"}


def test_a_users_file_or_its_folder_comes_first(tmp_path: Path, hub_cache: Path) -> None:
    source = ENTRIES["uni_v1"].source
    put_into_cache(hub_cache, source.repo, "pytorch_model.bin", b"the hub's")
    own = tmp_path / "pytorch_model.bin"
    own.write_bytes(b"mine")
    assert find("uni_v1", source, own) == own
    assert find("uni_v1", source, tmp_path) == own
    with pytest.raises(MissingDataError, match="not at"):
        find("uni_v1", source, tmp_path / "nowhere.bin")


def test_other_weights_are_another_encoder(tmp_path: Path) -> None:
    hashes = set()
    for content in (b"a", b"b"):
        (tmp_path / "model.safetensors").write_bytes(content)
        hashes.add(encoder_spec("phikon", tmp_path / "model.safetensors").weights_hash)
    (tmp_path / "config.json").write_text("{}")  # it decides the architecture
    hashes.add(encoder_spec("phikon", tmp_path / "model.safetensors").weights_hash)
    assert len(hashes) == 3


def test_an_encoder_that_brings_its_weights_takes_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no --weights"):
        encoder_spec("efficientnet_lite0", tmp_path)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"module.backbone.{name}": value for name, value in state.items()},
        lambda state: {f"visual.{n}": v for n, v in state.items()} | {"text.bias": torch.ones(1)},
    ],
)
def test_a_state_dict_is_read_under_the_names_that_libraries_save(
    tmp_path: Path, wrap: object
) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    torch.save(wrap(network.state_dict()), tmp_path / "w.pt")  # type: ignore[operator]
    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    load_into(other, WeightsFile(tmp_path / "w.pt").read(), tmp_path / "w.pt", ignored=r"text\.")
    assert torch.equal(other[0].weight, network[0].weight)


def test_the_prefix_is_the_one_that_finds_most() -> None:
    state = {"visual.a": torch.ones(1), "visual.b": torch.ones(1), "a": torch.zeros(1)}
    assert under_one_prefix({k: v for k, v in state.items() if k != "a"}, ["a", "b"]).keys() == {
        "a",
        "b",
    }


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    state = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        load_into(network, state, tmp_path / "w.pt")
    for part in ("1 tensors are missing (bias)", "1 are unexpected (extra)", "(2, 4), expected"):
        assert part in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04no pickle", b"PK\x03\x04cut"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be read|is not a torch file|damaged"):
        WeightsFile(tmp_path / name).read()


def test_objects_in_a_checkpoint_are_not_run(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "model": torch.nn.Linear(1, 1)}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError, match=r"more than data \(torch\.nn\..*nothing in it was run"
    ):
        WeightsFile(tmp_path / "w.pt").read()


def test_names_that_are_no_text_are_no_tensors_of_a_network(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        WeightsFile(tmp_path / "w.pt").read()
