"""A slide language model on a GPU: it learns there, and answers as it does on the CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import write_bag
from optional_packages import needs_cuda
from vqa_runs import write_slidebench, write_slides, write_tiny_run
from vqa_training import tiny, write_material

from tcssa.files.table import read_table
from tcssa.reporter import Silent
from tcssa.vqa.evaluation.evaluate import ANSWERS_FILE, evaluate
from tcssa.vqa.explain.ask import answer_question
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.settings import EvalOptions, VqaSettings
from tcssa.vqa.training.train import read_metrics, train

pytestmark = [pytest.mark.gpu, needs_cuda]
DEVICES = ("cpu", "cuda")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("train"), tiny_llm_folder)


def settings(material: Path, **options: Any) -> VqaSettings:
    """A short training."""
    return tiny(material, train={"micro_batch_size": 2, "epochs": 3, **options})


def test_stage_1_takes_the_cpus_steps(material: Path, tmp_path: Path) -> None:
    losses = []
    for device in DEVICES:
        train(settings(material, device=device), tmp_path / device, Silent())
        lines = list(read_table(tmp_path / device / "history.csv").rows.values())
        losses.append([float(line["train_loss"]) for line in lines])
    assert losses[1][-1] < losses[1][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stage_2_learns_with_the_compressor(material: Path, tmp_path: Path, precision: str) -> None:
    options = {"device": "cuda", "precision": precision}
    train(settings(material, **options), tmp_path / "1", Silent())
    second = {"stage": 2, "from_run": tmp_path / "1", "train_compressor": True, **options}
    train(settings(material, **second), tmp_path / "2", Silent())
    assert set(read_metrics(tmp_path / "2")["trained"]) == {"llm", "visual"}
    lines = read_table(tmp_path / "2" / "history.csv").rows.values()
    losses = [float(line["train_loss"]) for line in lines]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("method", ["likelihood", "text", "generate"])
def test_a_benchmark_is_answered_as_on_the_cpu(run: Path, tmp_path: Path, method: str) -> None:
    write_slides(tmp_path / "features", range(6))
    bench = write_slidebench(tmp_path / "bench.csv", 6)
    answers = []
    for device in DEVICES:
        options = EvalOptions(method=method, max_new_tokens=3)
        out = tmp_path / device
        evaluate(
            run, "slidebench-tcga", bench, [tmp_path / "features"], Silent(), options,
            device=device, out=out,
        )  # fmt: skip
        lines = [json.loads(line) for line in (out / ANSWERS_FILE).read_text().splitlines()]
        answers.append({line["row_id"]: line for line in lines[1:]})
    for row, on_cpu in answers[0].items():
        on_gpu = answers[1][row]
        assert on_gpu["predicted"] == on_cpu["predicted"]
        np.testing.assert_allclose(
            on_gpu.get("log_probs", 0), on_cpu.get("log_probs", 0), atol=1e-3
        )


def test_a_question_is_answered_as_on_the_cpu(run: Path, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "S1.h5", 60, seed=4)
    question = "What is it?", ["lung", "breast"]
    answers = [
        answer_question(
            run, *question, Silent(), AskSettings(device=name), features=bag, out=tmp_path / name
        )[0]
        for name in DEVICES
    ]
    assert answers[1].text == answers[0].text
    assert answers[1].log_likelihood == pytest.approx(answers[0].log_likelihood, abs=1e-3)
    on_cpu, on_gpu = ([slot.effect for slot in answer.slots] for answer in answers)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-3)
