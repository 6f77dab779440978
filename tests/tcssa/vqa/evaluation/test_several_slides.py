"""Questions about several slides: merged as one, or one behind the other, in an evaluation."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import write_bag
from heard import Heard
from vqa_runs import write_rows, write_tiny_run
from vqa_several import patient, slides_of, talk, write_patients, write_talks

from tcssa.crew.local_processes import LocalProcesses, cpu_seats
from tcssa.errors import UsageError
from tcssa.vqa.answering.controls import others
from tcssa.vqa.answering.question_runner import Asker
from tcssa.vqa.endpoint.asked_model import ways_of
from tcssa.vqa.evaluation.evaluate import ANSWERS_FILE, evaluate
from tcssa.vqa.evaluation.report import Report
from tcssa.vqa.evaluation.score_predictions import evaluate_predictions
from tcssa.vqa.explain.ask import answer_question
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.model.run import load_vqa
from tcssa.vqa.settings import BenchmarkKind, EvalOptions

NUM = 4
Line = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, patients of two slides, and a file that names them in each way."""
    folder = tmp_path_factory.mktemp("several")
    write_tiny_run(folder)
    write_patients(folder)
    named: dict[str, Callable[[int], str]] = {
        "whole": lambda n: slides_of(n)[0],
        "apart": lambda n: ";".join(slides_of(n)),
        "turned": lambda n: "; ".join(slides_of(n)[::-1]),
        "patients": patient,
    }
    for name, slide in named.items():
        rows = [
            [n, slide(n % NUM), "LUAD", "Diagnosis", "x", f"What {n}?", *"abcd", "ABCD"[n % 4]]
            for n in range(2 * NUM)
        ]
        write_rows(folder / f"{name}.csv", rows)
    return folder


def ask(
    folder: Path,
    name: str,
    out: Path,
    reporter: Heard | None = None,
    *,
    run: Path | None = None,
    crew: LocalProcesses | None = None,
    kind: BenchmarkKind = "slidebench-tcga",
    **options: Any,
) -> tuple[Report, list[Line]]:
    report = evaluate(
        run or folder / "run", kind,
        folder / (f"{name}.csv" if kind == "slidebench-tcga" else f"{name}.json"),
        [folder / ("whole" if name == "whole" else "apart")],
        reporter or Heard(), EvalOptions(**options), device="cpu", out=out, crew=crew,
    )  # fmt: skip
    lines = [json.loads(line) for line in (out / ANSWERS_FILE).read_text().splitlines()[1:]]
    return report, sorted(lines, key=lambda line: str(line["row_id"]))


def assert_same(lines: list[Line], others: list[Line], atol: float = 1e-4) -> None:
    for one, other in zip(lines, others, strict=True):
        assert one["log_probs"] == pytest.approx(other["log_probs"], abs=atol)


@pytest.mark.parametrize("name", ["apart", "turned", "patients"])
def test_merged_slides_answer_as_one_slide_of_all_patches(
    name: str, folder: Path, tmp_path: Path
) -> None:
    _, whole = ask(folder, "whole", tmp_path / "whole")
    report, merged = ask(folder, name, tmp_path / "merged", several="merge")
    assert_same(merged, whole)
    for line in merged:
        assert line["num_visual"] == 6
        assert line["blank"]["log_probs"] == pytest.approx(
            whole[merged.index(line)]["blank"]["log_probs"], abs=1e-4
        )
    assert report.metrics["scores"]["overall"]["num_slides"] == NUM
    assert report.metrics["patients_with_several_slides"] == (NUM if name == "patients" else 0)


def test_slides_behind_each_other_count_in_their_order(folder: Path, tmp_path: Path) -> None:
    _, straight = ask(folder, "apart", tmp_path / "apart", several="concat")
    _, turned = ask(folder, "turned", tmp_path / "turned", several="concat")
    _, by_patient = ask(folder, "patients", tmp_path / "patients", several="concat", permute=True)
    assert {line["num_visual"] for line in straight} == {12}
    assert_same(straight, by_patient)
    assert all(len(line["orders"]) == 4 for line in by_patient)
    assert straight[0]["slide"] == " + ".join(slides_of(0))
    assert straight[0]["log_probs"] != pytest.approx(turned[0]["log_probs"], abs=1e-6)
    features = [folder / "apart" / f"{name}.h5" for name in slides_of(0)]
    answer, _ = answer_question(
        folder / "run", "What 0?", list("abcd"), Heard(),
        AskSettings(several="concat", device="cpu", explain=False), features=features,
    )  # fmt: skip
    assert answer.predicted == "ABCD".index(straight[0]["predicted"])


def test_the_other_slide_of_a_control_shares_none(folder: Path, tmp_path: Path) -> None:
    _, lines = ask(folder, "apart", tmp_path, several="concat")
    for line in lines:
        shown = line["other_slide"]["slide"].split(" + ")
        assert len(shown) == 2
        assert not set(shown) & set(line["slide"].split(" + "))
    files = {"a": [Path("1"), Path("2")], "b": [Path("2")], "c": [Path("3")]}
    assert others(["a", "b", "c"], files) == {"a": "c", "b": "c", "c": "a"}
    assert others(["a", "b"], files) == {}


def test_several_slides_are_refused_without_a_rule(folder: Path, tmp_path: Path) -> None:
    reporter = Heard()
    write_rows(
        tmp_path / "mixed.csv",
        [
            [n, name, "LUAD", "Diagnosis", "x", "What?", *"abcd", "A"]
            for n, name in enumerate([";".join(slides_of(0)), patient(1), slides_of(2)[0]])
        ],
    )
    (tmp_path / "apart").symlink_to(folder / "apart")
    report, lines = ask(tmp_path, "mixed", tmp_path / "out", reporter, run=folder / "run")
    assert [line["status"] for line in lines] == ["ambiguous_features", "answered"]
    assert report.metrics["benchmark"]["faults"] == {"several slides": 1}
    assert any("--several merge or concat" in text for text in reporter.warnings)
    report, _ = ask(tmp_path, "mixed", tmp_path / "all", run=folder / "run", several="concat")
    assert report.metrics["statuses"] == {"answered": 3}


def test_an_evaluation_follows_its_run_unless_it_is_told_otherwise(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run)
    told = json.loads((run / "vqa.json").read_text()) | {"several": "concat"}
    (run / "vqa.json").write_text(json.dumps(told))
    reporter = Heard()
    _, followed = ask(folder, "apart", tmp_path / "a", reporter, run=run)
    assert "--several concat, as the run was trained" in reporter.notes
    _, straight = ask(folder, "apart", tmp_path / "b", several="concat")
    assert_same(followed, straight, atol=0)
    reporter = Heard()
    _, merged = ask(folder, "apart", tmp_path / "c", reporter, run=run, several="merge")
    assert "--several merge; the run was trained with concat" in reporter.notes
    assert {line["num_visual"] for line in merged} == {6}
    reporter = Heard()
    features = [folder / "apart" / f"{name}.h5" for name in slides_of(0)]
    answer, _ = answer_question(
        run, "What 0?", list("abcd"), reporter, AskSettings(device="cpu", explain=False),
        features=features,
    )  # fmt: skip
    assert answer.several == "concat"
    assert "--several concat, as the run was trained" in reporter.notes


def test_a_file_named_as_two_slides_together_is_not_taken_for_them(
    folder: Path, tmp_path: Path
) -> None:
    joined = " + ".join(slides_of(0))
    shutil.copytree(folder / "apart", tmp_path / "apart")
    write_bag(tmp_path / "apart" / f"{joined}.h5", 9, seed=99)
    rows = [
        [n, name, "LUAD", "Diagnosis", "x", "What?", *"abcd", "A"]
        for n, name in enumerate([joined, ";".join(slides_of(0))])
    ]
    write_rows(tmp_path / "both.csv", rows)
    for several in ("merge", "concat"):
        with pytest.raises(UsageError, match="two sets of slides are both named"):
            ask(tmp_path, "both", tmp_path / "out", run=folder / "run", several=several)
    write_rows(tmp_path / "joined.csv", rows[:1])
    _, lines = ask(tmp_path, "joined", tmp_path / "out", run=folder / "run", several="concat")
    assert [line["num_visual"] for line in lines] == [6]


def test_marked_slides_of_a_conversation_stand_at_their_marks(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "apart").symlink_to(folder / "apart")
    both = "Compare <image> with <image>."
    rows = [talk(n, slides_of(n), both if n else "<image>\nWhat?") for n in range(3)]
    write_talks(tmp_path / "told.json", rows)
    more = {"run": folder / "run", "kind": "conversations", "max_new_tokens": 3}
    report, lines = ask(tmp_path, "told", tmp_path / "out", several="concat", **more)
    assert report.metrics["statuses"] == {"answered": 3}
    assert {line["num_visual"] for line in lines} == {12}
    loaded = load_vqa(folder / "run", device="cpu")
    ways = ways_of(loaded, None, 16, 3)
    asker = Asker(loaded.prompts, ways.letters, ways.writer, ways.context)
    for counts, runs in {(6, 6): [6, 6], (6, 0): [6]}.items():
        (order,) = asker.prepare(both, (), *counts).orders
        marks = ["#" if each == loaded.prompts.image_token_id else " " for each in order.ids]
        assert [len(run) for run in "".join(marks).split()] == runs


def test_merging_what_makes_no_sums_is_refused(folder: Path, tmp_path: Path) -> None:
    run = write_tiny_run(tmp_path, kind="mean")
    with pytest.raises(UsageError, match="adds up slots"):
        ask(folder, "apart", tmp_path / "out", run=run, several="merge")
    report, _ = ask(folder, "apart", tmp_path / "out", run=run, several="concat")
    assert report.metrics["num_visual_tokens"] == 2


def test_several_workers_end_with_the_bytes_of_one(folder: Path, tmp_path: Path) -> None:
    ask(folder, "apart", tmp_path / "one", several="merge")
    crew = LocalProcesses(cpu_seats(2))
    ask(folder, "apart", tmp_path / "two", several="merge", crew=crew)
    one, two = ((tmp_path / name / ANSWERS_FILE).read_bytes() for name in ("one", "two"))
    assert one == two


def test_answers_of_another_system_may_be_about_several_slides(
    folder: Path, tmp_path: Path
) -> None:
    rows = [
        {"slide": " + ".join(slides_of(row % NUM)), "question": f"What {row}?", "response": "A"}
        for row in range(2 * NUM)
    ]
    (tmp_path / "theirs.json").write_text(json.dumps(rows))
    report = evaluate_predictions(
        tmp_path / "theirs.json", "slidebench-tcga", folder / "apart.csv", Heard(),
        out=tmp_path / "out",
    )  # fmt: skip
    assert report.metrics["scores"]["overall"]["num_rows"] == 2 * NUM
    assert report.metrics["predictions"]["missing"] == 0
