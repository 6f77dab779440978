"""Models on a hub that is served on loopback: pushed, pulled, tampered with, and out of reach."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cohorts import brief_run
from factories import make_compressor
from heard import Heard
from hub_server import LIBRARY_WARNS, Hub, on_loopback

from tcssa import load_classifier, load_compressor
from tcssa.compressor import save_compressor
from tcssa.errors import HubError, UsageError
from tcssa.hub import HubAddress, fetch, is_hub_address, local_model, require_out
from tcssa.hub.contents import CHECKSUMS_FILE
from tcssa.hub.pull import pull
from tcssa.mil.evidence.reference import REFERENCE_FILE
from tcssa.mil.review.wrong_slides import WRONG_FILE
from tcssa.publishing.push import push
from tcssa.reporter import Silent

pytestmark = LIBRARY_WARNS

REPO = "lab/lung"
ADDRESS = HubAddress(REPO)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with on_loopback(tmp_path / "cache") as served:
        yield served


@pytest.fixture(scope="module")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compressor") / "mine.safetensors"
    save_compressor(make_compressor(16, seed=1), path, "test_encoder")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brief_run(tmp_path_factory)


def test_an_address_names_a_repository_and_perhaps_a_revision() -> None:
    assert HubAddress.parse("hf:lab/lung") == ADDRESS
    assert HubAddress.parse(Path("hf:lab/lung@v1")) == HubAddress(REPO, "v1")
    assert HubAddress.parse("hf:lab\\lung@v1") == HubAddress(REPO, "v1")
    assert str(HubAddress(REPO, "v1")) == "hf:lab/lung@v1"
    assert HubAddress.of_repo("lab/lung") == HubAddress.of_repo("hf:lab/lung") == ADDRESS
    assert is_hub_address(Path("hf:lab/lung"))
    assert not is_hub_address("runs/lung")
    assert not is_hub_address(None)


@pytest.mark.parametrize("text", ["hf:lung", "hf:lab/lung/fold-0", "hf:../lung", "hf:lab/lung@"])
def test_another_text_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        HubAddress.parse(text)


def test_a_push_names_no_revision() -> None:
    with pytest.raises(UsageError, match="names a revision"):
        HubAddress.of_repo("lab/lung@v1")


def test_a_path_of_this_machine_stays_as_it_is(tmp_path: Path) -> None:
    assert local_model(str(tmp_path)) == tmp_path


def test_nothing_is_written_beside_a_run_on_the_hub(tmp_path: Path) -> None:
    require_out(None, tmp_path)
    require_out(tmp_path, "hf:lab/lung")
    with pytest.raises(UsageError, match="where nothing is written"):
        require_out(None, "hf:lab/lung")


def test_a_run_comes_back_byte_by_byte(hub: Hub, run: Path, tmp_path: Path) -> None:
    pushed = push(run, REPO, Silent())
    assert hub.private[REPO]
    told = Heard()
    copy = pull(ADDRESS, tmp_path / "pulled", told)
    assert told.notes == [f"hf:lab/lung: commit {copy.commit}"]
    assert pushed.address == HubAddress(REPO, copy.commit)
    for name in ("final/checkpoint.safetensors", "fold-1/checkpoint.safetensors", "metrics.json"):
        assert (tmp_path / "pulled" / name).read_bytes() == (run / name).read_bytes()
    _, files = hub.commits[REPO][-1]
    for name in pushed.files:
        assert (tmp_path / "pulled" / name).read_bytes() == files[name]
    assert not [name for name in files if name.endswith((".csv", ".yaml", ".html", ".png"))]


def test_what_is_pushed_names_no_slide_and_no_folder(hub: Hub, run: Path) -> None:
    push(run, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    assert b"s07" in (run / WRONG_FILE).read_bytes()  # it was classified wrongly
    assert WRONG_FILE not in files
    assert REFERENCE_FILE in files  # which heat maps need
    (found,) = json.loads(files["metrics.json"])["calibration"].values()
    assert found["rule"] == "youden"
    assert f"| {found['threshold']:.3f} (youden) |".encode() in files["README.md"]
    for name, content in files.items():
        assert b"s07" not in content, name
        assert str(run.parent).encode() not in content, name
    assert json.loads(files["config.resolved.json"])["cohort"]["labels"] == "labels.csv"


def test_a_run_on_the_hub_predicts_as_the_run_itself(hub: Hub, run: Path) -> None:
    push(run, REPO, Silent())
    slide = run.parent / "features" / "s03.h5"
    here = load_classifier(run, device="cpu").predict(slide)
    told = Silent()
    model = load_classifier(f"hf:{REPO}", device="cpu", reporter=told)
    assert model.predict(slide) == model.predict(slide) == here
    (warning,) = (text for text in told.warnings if "was shared without the names" in text)
    assert "is not checked" in warning


def test_a_compressor_is_taken_at_a_pinned_commit(hub: Hub, compressor: Path) -> None:
    first = push(compressor, REPO, Silent()).address
    save = make_compressor(16, seed=2)
    other = compressor.with_name("other.safetensors")
    save_compressor(save, other, "test_encoder")
    second = push(other, REPO, Silent()).address
    weights = {
        address: load_compressor(str(address)).router.gate.weight
        for address in (first, second, ADDRESS)
    }
    assert not weights[first].equal(weights[second])
    assert weights[ADDRESS].equal(weights[second])


def test_offline_the_cache_is_taken_and_said(
    hub: Hub, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = push(compressor, REPO, Silent()).address.revision
    online = fetch(ADDRESS, Silent())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = Heard()
    for address in (ADDRESS, HubAddress(REPO, commit)):
        assert fetch(address, told).folder == online.folder
    assert told.warnings[0] == (
        f"hf:lab/lung: HF_HUB_OFFLINE is set; commit {commit} is taken from its cache"
    )
    with pytest.raises(HubError, match="is set, and its cache does not hold the model"):
        fetch(HubAddress("lab/other"), told)


def test_a_hub_out_of_reach_is_one_line(hub: Hub, compressor: Path) -> None:
    push(compressor, REPO, Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(HubError, match=r"^hf:lab/lung: the hub cannot be reached \(.*\), and"):
            fetch(ADDRESS, Silent())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (HubAddress(REPO, "v9"), "hf:lab/lung@v9: there is no revision 'v9'"),
        (HubAddress("lab/other"), "hf:lab/other: there is no such model, or it is private"),
    ],
)
def test_what_is_not_there_is_one_line(
    hub: Hub, compressor: Path, address: HubAddress, message: str
) -> None:
    push(compressor, REPO, Silent())
    with pytest.raises(HubError) as caught:
        fetch(address, Silent())
    assert str(caught.value) == message


def test_a_file_of_the_hub_that_was_altered_is_refused(hub: Hub, run: Path, tmp_path: Path) -> None:
    push(run, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    name = "final/checkpoint.safetensors"
    altered = bytearray(files[name])
    altered[-1] ^= 1
    hub.commit(REPO, {**files, name: bytes(altered)})
    with pytest.raises(HubError, match=f"^hf:lab/lung: {name} is not the file that was pushed"):
        pull(ADDRESS, tmp_path / "pulled", Silent())
    assert not (tmp_path / "pulled").exists()


def test_a_file_of_the_cache_that_was_altered_is_refused(hub: Hub, compressor: Path) -> None:
    push(compressor, REPO, Silent())
    path = fetch(ADDRESS, Silent()).folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HubError, match=r"checkpoint\.safetensors is not the file that was pushed"):
        fetch(ADDRESS, Silent())


@pytest.mark.parametrize("name", ["model.pt", "final/progress.pkl", "code.py", "setup.sh"])
def test_another_kind_of_file_is_refused_unread(hub: Hub, compressor: Path, name: str) -> None:
    push(compressor, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    hub.commit(REPO, {**files, name: b"anything"})
    with pytest.raises(HubError, match=f"holds {name}, and models on the hub are taken as"):
        fetch(ADDRESS, Silent())


def test_a_file_without_a_checksum_is_refused(hub: Hub, compressor: Path) -> None:
    push(compressor, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    hub.commit(REPO, {**files, "run.json": b"{}"})
    with pytest.raises(HubError, match=r"run\.json was not pushed with the model"):
        fetch(ADDRESS, Silent())


def test_a_file_that_is_gone_is_named(hub: Hub, compressor: Path) -> None:
    push(compressor, REPO, Silent())
    _, files = hub.commits[REPO][-1]
    hub.commit(REPO, {n: data for n, data in files.items() if n != "checkpoint.safetensors"})
    with pytest.raises(HubError, match=r"hf:lab/lung: lacks checkpoint\.safetensors"):
        fetch(ADDRESS, Silent())


def test_checksums_that_lead_out_of_the_folder_are_refused(hub: Hub) -> None:
    sums = {"schema_version": 1, "tcssa_version": "0", "files": {"../x.json": "0"}}
    hub.commit(REPO, {CHECKSUMS_FILE: json.dumps(sums).encode()})
    with pytest.raises(HubError, match="is no plain name of a file"):
        fetch(ADDRESS, Silent())


def test_a_model_of_others_is_refused(hub: Hub) -> None:
    hub.commit(REPO, {"model.safetensors": b"", "config.json": b"{}"})
    with pytest.raises(HubError, match="is no model of tcssa"):
        fetch(ADDRESS, Silent())


def test_a_pull_goes_on_and_overwrites_nothing(hub: Hub, compressor: Path, tmp_path: Path) -> None:
    push(compressor, REPO, Silent())
    out = tmp_path / "pulled"
    pull(ADDRESS, out, Silent())
    (out / CHECKSUMS_FILE).unlink()
    pull(ADDRESS, out, Silent())
    assert (out / CHECKSUMS_FILE).is_file()
    (out / "checkpoint.safetensors").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not the file of hf:lab/lung"):
        pull(ADDRESS, out, Silent())
