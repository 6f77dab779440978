"""extract --compress, encode on slides, and verify, as a user gives them."""

from pathlib import Path

import h5py
import pytest
from command_line import Run
from factories import make_compressor
from shared_data import require_shared
from slide_files import FEATURES, stained, write_slide

from tcssa.compressor import save_compressor


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for slide in sorted(require_shared("cohorts/lung").glob("*.tif"))[:2]:
        (folder / slide.name).symlink_to(slide)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "checkpoint.safetensors"
    compressor = make_compressor(feature_dim=1280, num_slots=4)
    save_compressor(compressor, path, "efficientnet_lite0_random")
    return path


def test_encode_takes_slides_with_the_encoder_of_the_model(
    tcssa: Run, slides: Path, model: Path, tmp_path: Path
) -> None:
    done = tcssa("encode", slides, "--model", model, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert done.json["index"] == str(tmp_path / "out/index.csv")
    files = sorted((tmp_path / "out/slide_features_tcssa").glob("*.h5"))
    assert [path.stem for path in files] == sorted(path.stem for path in slides.glob("*.tif"))
    with h5py.File(files[0]) as file:
        assert file["features"].shape == (4, 1280)
        assert file["features"].attrs["encoder"] == "efficientnet_lite0_random"
    assert not list(tmp_path.rglob("features_*/*.h5"))


def test_encode_on_slides_takes_the_settings_of_extract(
    tcssa: Run, slides: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "extract.yaml").write_text("mpp: 1.0\n")
    arguments = ["--model", model, "--out", tmp_path / "out"]
    settings = ["--extract-config", tmp_path / "extract.yaml"]
    assert tcssa("encode", slides, *arguments, *settings).code == 0
    assert (tmp_path / "out/10x_224px_0px_overlap/patches").is_dir()


def test_what_does_not_go_together_is_refused(
    tcssa: Run, slides: Path, model: Path, tmp_path: Path
) -> None:
    feature = tmp_path / "a.h5"
    feature.touch()
    arguments = ["--model", model, "--out", tmp_path / "out"]
    mixed = tcssa("encode", slides, feature, *arguments)
    assert mixed.code == 2
    assert "is a slide or a folder of slides, and" in mixed.stderr
    sharded = tcssa("encode", slides, *arguments, "--shard", "1/2")
    assert sharded.code == 2
    assert "--shard is for feature files" in sharded.stderr
    nothing = tcssa("extract", slides, "--out", tmp_path / "job", "--no-features")
    assert nothing.code == 2
    assert "--compress" in nothing.stderr


def test_slots_and_features_are_told_of_and_verified(
    tcssa: Run, slides: Path, model: Path, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    done = tcssa("extract", slides, "--out", job, "--compress", model)
    assert done.code == 0
    assert "slide_features_tcssa" in done.stdout
    assert "busy, of this time: wait" in done.stdout
    sound = tcssa("verify", job)
    assert sound.code == 0
    assert "2 of slots: 0 faulty" in sound.stdout

    path = next((job / "20x_224px_0px_overlap/slide_features_tcssa").glob("*.h5"))
    path.write_bytes(path.read_bytes()[:-500])
    faulty = tcssa("verify", job, "--json")
    assert faulty.code == 1
    assert [Path(fault["path"]).name for fault in faulty.json["faults"]] == [path.name]
    repaired = tcssa("verify", job, "--repair")
    assert repaired.code == 0
    assert "1 moved aside" in repaired.stdout
    assert not path.exists()
    assert tcssa("extract", slides, "--out", job, "--compress", model).code == 0
    assert path.exists()


def test_slides_of_one_name(tcssa: Run, tmp_path: Path) -> None:
    for site in ("a", "b"):
        (tmp_path / "slides" / site).mkdir(parents=True)
        write_slide(tmp_path / "slides" / site / "s.tif", stained(300, 300))
    arguments = ["extract", tmp_path / "slides", "--out", tmp_path / "job"]
    refused = tcssa(*arguments)
    assert refused.code == 2
    assert "--names path" in refused.stderr
    assert (
        tcssa("extract", tmp_path / "slides", "--out", tmp_path / "job", "--names", "path").code
        == 0
    )
    assert {path.stem for path in (tmp_path / "job" / FEATURES).glob("*.h5")} == {"a__s", "b__s"}
