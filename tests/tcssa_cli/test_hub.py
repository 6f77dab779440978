"""tcssa push, pull and card, and addresses of the hub where commands take a model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from command_line import SMALL, Run
from exports import Exported
from factories import write_bag
from hub_server import LIBRARY_WARNS, Hub, on_loopback

pytestmark = LIBRARY_WARNS
ADDRESS = "hf:lab/lung"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with on_loopback(tmp_path / "cache") as served:
        yield served


@pytest.fixture
def new(tmp_path: Path) -> Path:
    rows = ["slide_id,case_id,label"]
    for i in range(4):
        write_bag(tmp_path / "new" / f"n{i}.h5", 20, seed=60 + i, shift=0.9 * (i % 2))
        rows.append(f"n{i},q{i},{'ab'[i % 2]}")
    (tmp_path / "new.csv").write_text("\n".join(rows))
    return tmp_path / "new"


def test_a_run_is_pushed_pulled_and_used_by_its_address(
    hub: Hub, tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    pushed = tcssa("push", trained / "run", "lab/lung", "--json")
    assert pushed.code == 0
    pinned = pushed.json["address"]
    assert pinned.startswith(f"{ADDRESS}@")
    pulled = tcssa("pull", pinned, "--out", tmp_path / "pulled", "--json")
    assert pulled.json["commit"] == pinned.partition("@")[2]

    tables = []
    for name, run in (("here", trained / "run"), ("hub", ADDRESS), ("copy", tmp_path / "pulled")):
        done = tcssa("predict", run, new, "--out", tmp_path / name)
        assert done.code == 0
        assert (f"{ADDRESS}: commit {pulled.json['commit']}" in done.stderr) == (name == "hub")
        assert ("is not checked" in done.stderr) == (name != "here")
        tables.append((tmp_path / name / "predictions.csv").read_text())
    assert tables[0] == tables[1] == tables[2]

    slots = tcssa("encode", new, "--model", ADDRESS, "--out", tmp_path / "encoded", "--json")
    assert slots.code == 0
    assert tcssa("inspect", ADDRESS, "--json").json["kind"] == "run of train-mil"
    maps = tcssa("heatmap", ADDRESS, new / "n0.h5", "--out", tmp_path / "maps")
    assert maps.code == 0
    assert "is not checked" in maps.stderr


def test_a_run_of_the_hub_is_scored_on_another_cohort_only(
    hub: Hub, tcssa: Run, trained: Path, new: Path, tmp_path: Path
) -> None:
    assert tcssa("push", trained / "run", "lab/lung").code == 0
    cohort = ["--labels", tmp_path / "new.csv", "--features", new]
    done = tcssa("eval", ADDRESS, *cohort, "--out", tmp_path / "scored", "--json")
    assert done.code == 0
    assert done.json["run"]["folds"] == 3
    assert any(
        "whether some of this cohort are among them" in each for each in done.json["warnings"]
    )
    own = tcssa("eval", ADDRESS, "--out", tmp_path / "own")
    assert own.code == 1
    assert "was shared without its splits" in own.stderr
    nowhere = tcssa("eval", ADDRESS, *cohort)
    assert nowhere.code == 2
    assert f"{ADDRESS} is on the hub, where nothing is written" in nowhere.stderr


def test_training_starts_from_weights_of_the_hub_if_the_user_says_so(
    hub: Hub, tcssa: Run, trained: Path, tmp_path: Path
) -> None:
    assert tcssa("push", trained / "run", "lab/lung").code == 0
    commit = hub.commits["lab/lung"][-1][0]
    cohort = ["--labels", trained / "labels.csv", "--features", trained / "features", *SMALL]
    out = tmp_path / "run"
    begun = tcssa("train-mil", *cohort, "--epochs", 1, "--init", ADDRESS, "--out", out)
    assert begun.code == 0
    settings = yaml.safe_load((out / "config.resolved.yaml").read_text())
    assert commit in settings["model"]["init"]
    (tmp_path / "config.yaml").write_text(f"model: {{init: '{ADDRESS}'}}\n")
    by_file = tcssa("train-mil", *cohort, "--config", tmp_path / "config.yaml", "--out", out)
    assert by_file.code == 2
    assert f"if you trust it, give it yourself: --init {ADDRESS}" in by_file.stderr


def test_an_artefact_of_the_hub_encodes(
    hub: Hub, tcssa: Run, exported: Exported, new: Path, tmp_path: Path
) -> None:
    assert tcssa("push", exported(), "lab/slots").code == 0
    done = tcssa("encode", new, "--model", "hf:lab/slots", "--out", tmp_path / "encoded", "--json")
    assert done.code == 0
    assert tcssa("inspect", "hf:lab/slots").code == 0


def test_what_the_hub_does_not_hold_is_one_line(hub: Hub, tcssa: Run, new: Path) -> None:
    done = tcssa("predict", "hf:lab/none", new, "--out", new / "out")
    assert done.code == 1
    assert "hf:lab/none: there is no such model, or it is private" in done.stderr
    assert "Traceback" not in done.stderr
    assert tcssa("pull", "lab/none", "--out", new / "out").code == 2


def test_the_card_of_a_run_tells_its_figures(tcssa: Run, trained: Path, tmp_path: Path) -> None:
    shown = tcssa("card", trained / "run")
    assert shown.code == 0
    front = yaml.safe_load(shown.stdout.split("---\n")[1])
    assert front["library_name"] == "tcssa"
    assert front["metrics"][0] == "auc"
    for line in (
        "| cohort | 18 slides, 513 patches |",
        "| tested slides by label | a 9, b 9 |",
        "| splits | kfold, drawn by seed 0 |",
        "| metric | all folds | 95 % interval | mean ± SD over folds |",
        "18 slides of 18 patients",
        "| label | threshold | temperature | slides |",
        " (youden) | ",
        "`test_encoder`, which is not in the catalogue",
        "It is no medical device",
    ):
        assert line in shown.stdout
    assert "p07" not in shown.stdout
    assert tcssa("card", trained / "run", "--out", tmp_path).code == 0
    assert (tmp_path / "README.md").read_text() == shown.stdout
