"""`tcssa ask` as a user calls it."""

import json
from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag
from slide_files import stained, write_slide
from vqa_runs import write_tiny_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ask")
    write_tiny_run(folder)
    write_bag(folder / "S1.h5", 40)
    return folder


def test_an_option_is_chosen_and_the_slots_are_shown(
    tcssa: Run, folder: Path, tmp_path: Path
) -> None:
    done = tcssa(
        "ask", folder / "run", "Is there tumour?", "--features", folder / "S1.h5",
        "--option", "Yes", "--option", "No", "--out", tmp_path, "--device", "cpu",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    for shown in ("A. Yes", "B. No", "effect, nats", "centre", "slots.png"):
        assert shown in done.stdout
    assert (tmp_path / "slots.png").exists()
    stored = json.loads((tmp_path / "answer.json").read_text())
    assert stored["options"] == ["Yes", "No"]


def test_a_wording_is_named_on_the_command_line(tcssa: Run, folder: Path) -> None:
    asked = (
        "ask", folder / "run", "Is there tumour?", "--features", folder / "S1.h5",
        "--option", "Yes", "--option", "No", "--device", "cpu", "--no-explain", "--json",
    )  # fmt: skip
    plain, worded = tcssa(*asked), tcssa(*asked, "--prompt", "tc-ssa")
    assert (plain.code, worded.code) == (0, 0), worded.stderr
    assert plain.json["probabilities"] != worded.json["probabilities"]
    wrong = tcssa(*asked, "--prompt", "tc-sa")
    assert wrong.code != 0
    assert "tc-ssa" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_several_slides_come_together_in_one_of_two_ways(
    tcssa: Run, folder: Path, tmp_path: Path
) -> None:
    other = write_bag(tmp_path / "S2.h5", 30, seed=7)
    asked = (
        "ask", folder / "run", "Is there tumour?", "--features", folder / "S1.h5",
        "--features", other, "--option", "Yes", "--option", "No", "--device", "cpu",
    )  # fmt: skip
    refused = tcssa(*asked)
    assert refused.code == 2
    for way in ("--several merge", "--several concat"):
        assert way in refused.stderr
    merged = tcssa(*asked, "--several", "merge", "--json")
    assert merged.code == 0, merged.stderr
    assert (merged.json["slide"], merged.json["several"]) == ("S1 + S2", "merge")
    assert len(merged.json["slots"]) == 6
    behind = tcssa(*asked, "--several", "concat", "--out", tmp_path / "out")
    assert behind.code == 0, behind.stderr
    assert "of 12 visual tokens" in behind.stdout
    assert "(S2)" in behind.stdout
    assert "no picture is drawn of several slides" in behind.stderr
    assert json.loads((tmp_path / "out" / "answer.json").read_text())["several"] == "concat"
    assert not (tmp_path / "out" / "slots.png").exists()


def test_an_answer_is_written_without_options(tcssa: Run, folder: Path) -> None:
    done = tcssa(
        "ask", folder / "run", "What is it?", "--features", folder / "S1.h5",
        "--max-new-tokens", 3, "--no-explain", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.json["text"]
    assert done.json["slots"] == []
    assert done.json["picture"] is None


def test_a_slide_is_extracted_with_the_run_s_encoder_and_asked(tcssa: Run, tmp_path: Path) -> None:
    run = write_tiny_run(tmp_path, encoder="efficientnet_lite0", feature_dim=1280)
    slide = write_slide(tmp_path / "S.tif", stained(600, 600))
    done = tcssa(
        "ask", run, "Is there tumour?", "--slide", slide, "--option", "yes", "--option", "no",
        "--out", tmp_path / "out", "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.json["slide"] == "S"
    assert (tmp_path / "out" / "slots.png").exists()
    again = tcssa("ask", run, "What?", "--slide", tmp_path / "out" / "answer.json")
    assert again.code == 1
    assert again.stderr.count(str(tmp_path / "out" / "answer.json")) == 2  # a warning, and an error


def test_a_slide_needs_an_encoder_that_is_known(tcssa: Run, folder: Path, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S.tif", stained(600, 600))
    done = tcssa("ask", folder / "run", "What is it?", "--slide", slide)
    assert done.code == 2
    assert "made with 'test_encoder', which tcssa cannot load" in done.stderr


def test_what_is_wrong_is_said_in_one_line(tcssa: Run, folder: Path, tmp_path: Path) -> None:
    run, bag = folder / "run", folder / "S1.h5"
    broken = write_bag(tmp_path / "S.h5", feature_dim=8)
    cases = [
        ((run, "What?"), 2, "one slide is needed"),
        ((run, "What?", "--features", bag, "--slide", bag), 2, "one slide is needed"),
        ((run, "What?", "--slide", bag, "--several", "merge"), 2, "--several is for slides"),
        ((run, "What?", *2 * ("--features", bag), "--several", "merge"), 2, "of the slide S1"),
        ((run, " ", "--features", bag), 2, "the question is empty"),
        ((run, "What?", "--features", bag, "--option", "A"), 2, "options can be given, not 1"),
        ((run, "What?", "--features", broken), 1, "D = 8, expected D = 16"),
        ((tmp_path, "What?", "--features", bag), 1, str(tmp_path)),
    ]
    for given, code, message in cases:
        done = tcssa("ask", *given)
        assert done.code == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_options_of_an_extraction_need_a_slide(tcssa: Run, tmp_path: Path) -> None:
    refused = tcssa("ask", tmp_path, "What?", "--features", "S.h5", "--slide-mpp", "0.5")
    assert refused.code == 2
    assert "are for a --slide that is extracted here" in refused.stderr
