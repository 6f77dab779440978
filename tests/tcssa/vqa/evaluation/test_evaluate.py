"""A model on a benchmark: every row asked once, every row counted, kills survived."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import write_bag
from vqa_models import tiny_qwen3
from vqa_runs import slide_name, write_rows, write_slidebench, write_slides, write_tiny_run

from tcssa.errors import FeatureDimError, RunError, UsageError
from tcssa.reporter import Silent
from tcssa.vqa.answering.controls import circle, others
from tcssa.vqa.evaluation.evaluate import ANSWERS_FILE, evaluate
from tcssa.vqa.evaluation.report import METRICS_FILE, Report
from tcssa.vqa.evaluation.score_predictions import evaluate_predictions
from tcssa.vqa.evaluation.slide_asking import SlideAsker
from tcssa.vqa.settings import EvalOptions, LanguageModelOptions

NUM_SLIDES, NUM_ROWS = 10, 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features of ten slides, and three questions about each."""
    folder = tmp_path_factory.mktemp("data")
    write_slides(folder / "features", range(NUM_SLIDES))
    write_slidebench(folder / "bench.csv", NUM_SLIDES)
    return folder


def ask(
    run: Path, data: Path, out: Path, *, reporter: Silent | None = None, **options: object
) -> Report:
    return evaluate(
        run,
        "slidebench-tcga",
        data / "bench.csv",
        [data / "features"],
        reporter or Silent(),
        EvalOptions(**options),  # type: ignore[arg-type]
        device="cpu",
        out=out,
    )


def lines_of(folder: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in (folder / ANSWERS_FILE).read_text().splitlines()]
    return {line["row_id"]: line for line in lines[1:]}


def test_every_row_is_asked_and_scored(run: Path, data: Path, tmp_path: Path) -> None:
    report = ask(run, data, tmp_path)
    metrics = report.metrics
    lines = lines_of(tmp_path)
    assert len(lines) == NUM_ROWS
    right = sum(line["predicted"] == line["answer"] for line in lines.values())
    overall = metrics["scores"]["overall"]
    assert overall["num_rows"] == NUM_ROWS
    assert overall["num_slides"] == NUM_SLIDES
    assert overall["accuracy"]["value"] == pytest.approx(right / NUM_ROWS)
    assert metrics["statuses"] == {"answered": NUM_ROWS}
    assert metrics["num_visual_tokens"] == 6
    assert set(metrics["scores"]["groups"]["broad"]) == {"Microscopy", "Diagnosis", "Clinical"}
    assert metrics["benchmark"]["num_rows"] == NUM_ROWS
    assert len(metrics["benchmark"]["sha256"]) == 64
    assert {"majority_letter", "majority_option_text", "longest_option"} <= {
        baseline["name"] for baseline in metrics["baselines"]
    }
    assert json.loads((tmp_path / METRICS_FILE).read_text()) == json.loads(json.dumps(metrics))


def test_controls_are_asked_of_blank_slots_and_of_the_next_slide(
    run: Path, data: Path, tmp_path: Path
) -> None:
    ask(run, data, tmp_path)
    other_of = others(circle(slide_name(number) for number in range(NUM_SLIDES)))
    lines = list(lines_of(tmp_path).values())
    for line in lines:
        own = Path(str(line["slide"])).stem
        assert line["other_slide"]["slide"] == other_of[own] != own  # type: ignore[index]
        assert line["log_probs"] != line["blank"]["log_probs"]  # type: ignore[index]
        assert line["log_probs"] != line["other_slide"]["log_probs"]  # type: ignore[index]


def test_asking_another_slide_is_asking_about_that_slide(
    run: Path, data: Path, tmp_path: Path
) -> None:
    """The same question about both slides: what one's control said is what the other says."""
    rows = [
        [n, slide_name(n), "LUAD", "Diagnosis", "x", "What?", "a", "b", "c", "d", "A"]
        for n in range(2)
    ]
    folder = tmp_path / "data"
    write_slides(folder / "features", range(2))
    write_rows(folder / "bench.csv", rows)
    ask(run, folder, tmp_path / "out")
    one, other = lines_of(tmp_path / "out").values()
    assert one["other_slide"]["log_probs"] == pytest.approx(other["log_probs"], abs=1e-5)  # type: ignore[index]
    assert other["other_slide"]["log_probs"] == pytest.approx(one["log_probs"], abs=1e-5)  # type: ignore[index]
    assert one["blank"]["log_probs"] == pytest.approx(  # type: ignore[index]
        other["blank"]["log_probs"],
        abs=1e-5,  # type: ignore[index]
    )


def test_slides_without_features_stay_in_the_denominator(
    run: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    write_slides(folder / "features", range(NUM_SLIDES - 1))  # a tenth is missing
    write_slidebench(folder / "bench.csv", NUM_SLIDES)
    reporter = Silent()
    metrics = ask(run, folder, tmp_path / "out", reporter=reporter).metrics
    assert metrics["statuses"] == {"answered": 27, "no_features": 3}
    overall = metrics["scores"]["overall"]
    assert overall["num_rows"] == NUM_ROWS
    assert overall["accuracy"]["value"] == pytest.approx(
        overall["accuracy_answered"]["value"] * 27 / 30
    )
    for control in metrics["controls"].values():
        assert control["overall"]["num_rows"] == NUM_ROWS
    assert any("3 no_features" in warning for warning in reporter.warnings)
    (lost, *_) = [r for r in lines_of(tmp_path / "out").values() if r["status"] != "answered"]
    assert slide_name(NUM_SLIDES - 1) in str(lost["message"])


def test_what_is_wrong_with_a_row_is_said_and_counted(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_slides(folder / "features", range(3))
    write_bag(folder / "features" / f"{slide_name(3)}.h5", 0)
    good = ["LUAD", "Diagnosis", "x"]
    rows = [
        [1, slide_name(0), *good, "What is it?", "a", "b", "c", "d", "A"],
        [2, slide_name(1), *good, "What is it?", "a", "b", "c", "d", "E"],  # outside the options
        [3, slide_name(1), *good, "", "a", "b", "c", "d", "A"],  # no question
        [4, slide_name(2), *good, "What? " * 9000, "a", "b", "c", "d", "A"],  # too long
        [5, slide_name(3), *good, "What is it?", "a", "b", "c", "d", "A"],  # no patch
    ]
    write_rows(folder / "bench.csv", rows)
    reporter = Silent()
    metrics = ask(run, folder, tmp_path / "out", reporter=reporter).metrics
    assert metrics["statuses"] == {"answered": 1, "too_long": 1, "no_features": 1}
    assert metrics["scores"]["overall"]["num_rows"] == 3
    assert metrics["benchmark"]["num_rows"] == 5
    assert metrics["benchmark"]["num_left_out"] == 2
    assert sum(metrics["benchmark"]["faults"].values()) >= 2
    said = "; ".join(reporter.warnings)
    assert "row 2" in said
    assert "row 3" in said
    lines = lines_of(tmp_path / "out")
    assert "the model reads" in str(lines["4"]["message"])
    assert "holds no patch" in str(lines["5"]["message"])


def test_a_damaged_feature_file_costs_its_rows_only(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_slides(folder / "features", range(3))
    write_slidebench(folder / "bench.csv", 3)
    (folder / "features" / f"{slide_name(1)}.h5").write_bytes(b"broken")
    metrics = ask(run, folder, tmp_path / "out").metrics
    assert metrics["statuses"] == {"answered": 6, "bad_features": 3}
    control = metrics["controls"]["other_slide"]["overall"]
    assert control["statuses"] == {"answered": 3, "not_asked": 3, "bad_features": 3}


def test_features_of_another_length_or_encoder_end_it(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_slides(folder / "features", range(1))
    write_slidebench(folder / "bench.csv", 1)
    write_bag(folder / "features" / f"{slide_name(0)}.h5", feature_dim=8)
    with pytest.raises(FeatureDimError, match="D = 8, expected D = 16"):
        ask(run, folder, tmp_path / "a")
    write_bag(folder / "features" / f"{slide_name(0)}.h5", encoder="another")
    with pytest.raises(UsageError, match="'test_encoder', these are of 'another'"):
        ask(run, folder, tmp_path / "b")


def test_another_language_model_is_refused(run: Path, data: Path, tmp_path: Path) -> None:
    other = tiny_qwen3(tmp_path / "other", seed=7)
    with pytest.raises(RunError):
        evaluate(
            run, "slidebench-tcga", data / "bench.csv", [data / "features"], Silent(),
            source=LanguageModelOptions(llm=str(other)), device="cpu", out=tmp_path / "out",
        )  # fmt: skip


def test_answers_of_another_model_are_not_gone_on_with(
    run: Path, data: Path, tmp_path: Path
) -> None:
    ask(run, data, tmp_path / "out")
    other = write_tiny_run(tmp_path / "other", seed=1)
    with pytest.raises(RunError, match="model changed"):
        ask(other, data, tmp_path / "out")
    with pytest.raises(RunError, match="permute changed"):
        ask(run, data, tmp_path / "out", permute=True)


def test_permuted_options_are_asked_in_every_order(run: Path, data: Path, tmp_path: Path) -> None:
    plain = ask(run, data, tmp_path / "plain").metrics
    metrics = ask(run, data, tmp_path / "permuted", permute=True).metrics
    assert metrics["scores"]["overall"] == plain["scores"]["overall"]
    found = metrics["permutation"]
    assert found["num_questions"] == NUM_ROWS
    assert set(found["letters"]) == set("ABCD")
    assert 0 <= found["consistency"] <= 1
    assert found["mean_of_orders"]["value"] is not None
    line = lines_of(tmp_path / "permuted")["1"]
    assert len(line["orders"]) == 4  # type: ignore[arg-type]
    assert plain["permutation"] is None


def test_generated_answers_have_an_invalid_rate(run: Path, data: Path, tmp_path: Path) -> None:
    """A model of random weights names no option: everything is asked, nothing is right."""
    metrics = ask(run, data, tmp_path, method="generate", max_new_tokens=4).metrics
    overall = metrics["scores"]["overall"]
    assert metrics["statuses"]["invalid"] == round(overall["invalid_rate"] * NUM_ROWS)
    assert overall["num_rows"] == NUM_ROWS
    assert overall["accuracy"]["value"] == pytest.approx(
        (overall["accuracy_answered"]["value"] or 0) * (1 - overall["invalid_rate"])
    )
    assert "text" in lines_of(tmp_path)["1"]


def test_a_limit_asks_the_first_rows_and_says_so(run: Path, data: Path, tmp_path: Path) -> None:
    metrics = ask(run, data, tmp_path, limit=4).metrics
    assert set(lines_of(tmp_path)) == {"1", "2", "3", "4"}
    assert metrics["asked"]["limit"] == metrics["asked"]["num_questions"] == 4
    assert metrics["benchmark"]["num_rows"] == NUM_ROWS


def test_open_questions_are_written_and_stand_apart(run: Path, tmp_path: Path) -> None:
    write_slides(tmp_path / "features", range(2))
    rows = [
        {"Id": "TCGA-AA-0000", "Question": "What?", "Choice": ["a", "b"], "Answer": "b"},
        {"Id": "TCGA-AA-0001", "Question": "What is the type?", "Answer": "ductal carcinoma"},
    ]
    (tmp_path / "wsi.json").write_text(json.dumps(rows))
    metrics = evaluate(
        run, "wsi-vqa", tmp_path / "wsi.json", [tmp_path / "features"], Silent(),
        EvalOptions(max_new_tokens=3), device="cpu", out=tmp_path / "out",
    ).metrics  # fmt: skip
    assert metrics["scores"]["overall"]["num_rows"] == 1
    assert metrics["open"]["num_texts"] == 1
    assert metrics["open"]["exact"] == 0
    assert metrics["statuses"] == {"answered": 2}


def test_the_same_command_again_asks_nothing(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ask(run, data, tmp_path).metrics
    monkeypatch.setattr(SlideAsker, "ask", None)  # would fail if it were called
    assert ask(run, data, tmp_path).metrics == first


def test_a_killed_evaluation_ends_as_an_undisturbed_one(
    run: Path, data: Path, tmp_path: Path
) -> None:
    ask(run, data, tmp_path / "whole")
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import tcssa.vqa.evaluation.evaluate as e\n"
        "from tcssa.reporter import Silent\n"
        "asked = e.SlideAsker.ask\n"
        "def slow(*a):\n"
        "    time.sleep(0.3)\n"
        "    return asked(*a)\n"
        "e.SlideAsker.ask = slow\n"
        "run, data, out = map(Path, sys.argv[1:])\n"
        "e.evaluate(run, 'slidebench-tcga', data / 'bench.csv', [data / 'features'], Silent(),\n"
        "           device='cpu', out=out)\n"
    )
    out = tmp_path / "killed"
    arguments = [sys.executable, "-c", script, str(run), str(data), str(out)]
    with subprocess.Popen(arguments) as process:
        answers = out / ANSWERS_FILE
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if answers.exists() and len(answers.read_bytes().splitlines()) >= 7:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    done = answers.read_bytes().splitlines()
    assert 7 <= len(done) < NUM_ROWS + 1
    answers.write_bytes(answers.read_bytes()[:-25])  # and the last line was only half there
    ask(run, data, out)
    for name in (ANSWERS_FILE, METRICS_FILE):
        whole, again = (tmp_path / "whole" / name).read_text(), (out / name).read_text()
        assert again.replace(str(out), str(tmp_path / "whole")) == whole


def test_another_systems_answers_get_the_same_report(data: Path, tmp_path: Path) -> None:
    answers = [{"row_id": str(row + 1), "answer": "ABCD"[row % 4]} for row in range(NUM_ROWS - 3)]
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    metrics = evaluate_predictions(
        path, "slidebench-tcga", data / "bench.csv", Silent(), out=tmp_path / "out"
    ).metrics
    overall = metrics["scores"]["overall"]
    assert overall["accuracy"]["value"] == pytest.approx(27 / 30)
    assert overall["accuracy_answered"]["value"] == 1
    assert metrics["statuses"] == {"answered": 27, "missing": 3}
    assert metrics["controls"] == {"blank": None, "other_slide": None}
    assert metrics["baselines"]
