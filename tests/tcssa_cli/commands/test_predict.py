"""tcssa predict, as a user gives it."""

from pathlib import Path

import pytest
from command_line import SMALL, Run
from factories import write_bag
from slide_files import draw_slides


@pytest.fixture
def new(tmp_path: Path) -> Path:
    for i in range(2):
        write_bag(tmp_path / "new" / f"n{i}.h5", 20, seed=60 + i, shift=0.9 * i)
    return tmp_path / "new"


def test_a_run_predicts_and_names_what_failed(
    tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    done = tcssa("predict", trained / "run", new, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert [row["name"] for row in done.json["slides"]] == ["n0", "n1"]
    assert done.json["classes"] == ["a", "b"]
    row = done.json["slides"][0]
    assert row["prob_a"] + row["prob_b"] == pytest.approx(1)
    found = tcssa("inspect", tmp_path / "out", "--json").json
    assert (found["kind"], found["facts"]["num_slides"]) == ("predictions", 2)
    (new / "broken.h5").write_bytes(b"no HDF5")
    again = tcssa("predict", trained / "run", new, "--out", tmp_path / "out", "--by", "case")
    assert again.code == 1
    assert "2 slides predicted by run, final model (2 done before), 1 failed" in again.stdout
    assert "failed  " in again.stdout
    assert (tmp_path / "out" / "cases.csv").exists()


def test_an_artefact_keeps_the_threshold_and_the_temperature_of_its_run(
    tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    run, artefact = trained / "run", tmp_path / "artefact"
    assert tcssa("export", run, "--what", "classifier", "--out", artefact).code == 0
    given = [new, "--calibrated", "--json", "--out"]
    by_run = tcssa("predict", run, *given, tmp_path / "by-run").json
    found = tcssa("predict", artefact, *given, tmp_path / "by-artefact").json
    assert found["calibration"] == by_run["calibration"] != {}
    for row, expected in zip(found["slides"], by_run["slides"], strict=True):
        assert row["prob_b"] == pytest.approx(expected["prob_b"], abs=1e-4)
        assert row["at_threshold"] == expected["at_threshold"]


def test_slides_are_extracted_and_predicted_in_one_command(tcssa: Run, tmp_path: Path) -> None:
    encoder = "efficientnet_lite0_random"
    rows = ["slide_id,label"]
    for i in range(9):
        bag = tmp_path / "features" / f"s{i}.h5"
        write_bag(bag, 8, feature_dim=1280, seed=i, shift=0.9 * (i % 2), encoder=encoder)
        rows.append(f"s{i},{'ab'[i % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = ["--labels", tmp_path / "labels.csv", "--features", tmp_path / "features"]
    run, out = tmp_path / "run", tmp_path / "out"
    assert tcssa("train-mil", *data, *SMALL, "--epochs", 1, "--out", run).code == 0
    draw_slides(tmp_path / "slides", 1, width=784, height=784)
    (tmp_path / "slides" / "broken.tif").write_bytes(b"no slide")

    unknown = tcssa("predict", run, tmp_path / "slides", "--out", out)
    assert unknown.code == 2
    assert "does not say how the patches of its training were cut" in unknown.stderr
    (tmp_path / "extract.yaml").write_text("{mpp: 0.5, patch_size: 224, overlap: 0}\n")
    arguments = [run, tmp_path / "slides", "--extract-config", tmp_path / "extract.yaml"]
    done = tcssa("predict", *arguments, "--out", out, "--json")
    assert done.code == 1
    assert [row["name"] for row in done.json["slides"]] == ["D-00"]
    assert 0 <= done.json["slides"][0]["unlike_share"] <= 1
    assert [failed["slide_id"] for failed in done.json["failed"]] == ["broken"]
    assert "data:image/jpeg" in (out / "report.html").read_text()
    again = tcssa("predict", *arguments, "--out", out, "--json")
    assert again.json["num_done_before"] == 1
    assert again.json["slides"] == done.json["slides"]
    shared = tcssa("predict", *arguments, "--out", tmp_path / "shared", "--workers", 2, "--json")
    assert shared.json["slides"] == done.json["slides"]
    assert [failed["slide_id"] for failed in shared.json["failed"]] == ["broken"]


def test_what_does_not_go_together_is_refused(
    tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    run, out = trained / "run", tmp_path / "out"
    for arguments, reason in (
        ([run, "--out", out], "no slides were given"),
        ([run, new, "--out", out, "--encoder", "uni_v2"], "--encoder is for slides"),
        ([run, new, "--out", out, "--workers", 2], "--workers is for slides, by several workers"),
        ([run, new, "--out", out, "--runtime", "onnx"], "--runtime is for artefacts"),
    ):
        done = tcssa("predict", *arguments)
        assert done.code == 2
        assert reason in done.stderr
