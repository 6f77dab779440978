"""The encoders that have a name, and their export."""

import json
from pathlib import Path

from command_line import Run
from shared_data import require_shared

from tcssa.features import open_bag


def test_encoders_are_listed_with_licence_and_access(tcssa: Run) -> None:
    shown = tcssa("encoders")
    assert shown.code == 0
    (line,) = (line for line in shown.stdout.splitlines() if "uni_v2" in line)
    for cell in ("1536", "CC-BY-NC-ND-4.0", "ask"):
        assert cell in line
    assert max(len(line) for line in shown.stdout.splitlines() if "│" in line) <= 80
    found = json.loads(tcssa("encoders", "--json").stdout)
    by_name = {facts["name"]: facts for facts in found["encoders"]}
    assert by_name["efficientnet_lite0"]["is_here"]
    assert by_name["virchow2"]["trained_mpp"] == [0.25, 0.5, 1.0, 2.0]
    assert "onnx:<file>" in found["families"]


def test_one_encoder_is_shown_alone(tcssa: Run) -> None:
    shown = tcssa("encoders", "uni_v2")
    assert shown.code == 0
    for text in ("D = 1536", "0.5 µm/px", "ask the owner", "MahmoodLab/UNI2-h", "tcssa[encoders]"):
        assert text in shown.stdout
    assert tcssa("encoders", "uni_v2", "--json").json["feature_dim"] == 1536
    unknown = tcssa("encoders", "uni_v3")
    assert unknown.code == 2
    assert "did you mean uni_v2" in unknown.stderr


def test_an_exported_encoder_extracts_what_the_encoder_does(tcssa: Run, tmp_path: Path) -> None:
    name, out = "efficientnet_lite0", tmp_path / "exported"
    done = tcssa("export", "--what", "encoder", "--encoder", name, "--out", out, "--json")
    assert done.code == 0
    assert max(row["relative"] for row in json.loads(done.stdout)["parity"]) < 1e-4
    slide = require_shared("slides/cmu-1-small-region.svs")
    features = []
    for encoder, mpp in ((name, 1), (f"onnx:{out}", 1)):
        done = tcssa("extract", slide, "--out", tmp_path / "job", "--encoder", encoder,
                     "--mpp", mpp, "--device", "cpu", "--json")  # fmt: skip
        assert done.code == 0
        with open_bag(next(Path(json.loads(done.stdout)["features"]).glob("*.h5"))) as bag:
            assert bag.encoder == name
            features.append(bag.read())
    assert len(features[0]) > 0
    assert abs(features[0] - features[1]).max() < 1e-4


def test_wrong_requests_for_an_encoder_exit_with_2(tcssa: Run, tmp_path: Path) -> None:
    export = ("export", "--what", "encoder", "--out", tmp_path / "out")
    assert tcssa(*export).code == 2
    assert tcssa(*export, "--encoder", "no_such_encoder").code == 2
    assert tcssa(*export, "--encoder", "efficientnet_lite0", "--precision", "fp16").code == 2
    assert tcssa("export", "--out", tmp_path / "out").code == 2
    assert tcssa("export", tmp_path, "--encoder", "x", "--out", tmp_path / "out").code == 2
