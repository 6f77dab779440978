"""train-vqa on a tiny language model: both stages, and what is refused."""

import json
from pathlib import Path

import pytest
from command_line import Run
from factories import make_compressor, write_bag
from vqa_models import tiny_qwen3

from tcssa.compressor import save_compressor
from tcssa.vqa.model.run import load_vqa


def write_conversations(path: Path, slides: range, answer: str = "It is {}.") -> Path:
    rows = [
        {
            "id": f"row-{i}",
            "image": [f"TCGA-AA-{i:04d}-01Z-00-DX1.csv"],
            "conversations": [
                {"from": "human", "value": "<image>\nWhat is seen?"},
                {"from": "gpt", "value": answer.format("odd" if i % 2 else "even")},
            ],
        }
        for i in slides
    ]
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of twelve slides, a compressor, a language model, conversations."""
    folder = tmp_path_factory.mktemp("vqa")
    for i in range(12):
        write_bag(folder / "features" / f"TCGA-AA-{i:04d}-01Z-00-DX1.h5", 20 + i, seed=i)
    save_compressor(make_compressor(), folder / "compressor.safetensors", "test_encoder")
    tiny_qwen3(folder / "llm")
    write_conversations(folder / "data.json", range(12))
    return folder


def options(material: Path, out: Path) -> list[str]:
    return [
        "train-vqa", "--compressor", str(material / "compressor.safetensors"),
        "--llm", str(material / "llm"), "--data", str(material / "data.json"),
        "--features", str(material / "features"),
        "--projector-dim", "32", "--val-fraction", "0.25",
        "--batch-size", "4", "--micro-batch-size", "2", "--epochs", "2",
        "--out", str(out), "--json",
    ]  # fmt: skip


def test_both_stages_train_and_leave_a_run_that_loads(
    tcssa: Run, material: Path, tmp_path: Path
) -> None:
    first = tcssa(*options(material, tmp_path / "one"), "--stage", "1")
    assert first.code == 0, first.stderr
    metrics = json.loads(first.stdout)
    assert metrics["rows"]["train"] + metrics["rows"]["val"] == 12
    assert metrics["rows"]["val"] >= 1
    assert set(metrics["trained"]) == {"projector"}
    second = tcssa(
        "train-vqa", "--stage", "2", "--from", str(tmp_path / "one"),
        "--data", str(material / "data.json"), "--features", str(material / "features"),
        "--batch-size", "4", "--lora-rank", "2", "--out", str(tmp_path / "two"), "--json",
    )  # fmt: skip
    assert second.code == 0, second.stderr
    assert set(json.loads(second.stdout)["trained"]) == {"llm"}
    loaded = load_vqa(tmp_path / "two", device="cpu")
    assert loaded.settings.stage == 2
    assert loaded.settings.encoder == "test_encoder"
    assert loaded.model.has_lora
    again = tcssa(*options(material, tmp_path / "one"), "--stage", "1")
    assert again.code == 0
    assert "complete already" in again.stderr


def test_missing_features_are_counted_listed_and_too_many_are_an_error(
    tcssa: Run, material: Path, tmp_path: Path
) -> None:
    data = write_conversations(tmp_path / "more.json", range(14))
    few = options(material, tmp_path / "few")
    few[few.index("--data") + 1] = str(data)
    refused = tcssa(*few, "--max-dropped", "0.1")
    assert refused.code == 1
    assert "no features" in refused.stderr
    allowed = tcssa(*few, "--max-dropped", "0.2", "--epochs", "1")
    assert allowed.code == 0, allowed.stderr
    assert json.loads(allowed.stdout)["dropped"] == {"no features": 2}
    listed = (tmp_path / "few" / "skipped.csv").read_text().splitlines()
    assert len(listed) == 3
    assert listed[1].startswith('row-12,"more.json, row 13"')


def test_what_is_missing_is_said_in_a_line(tcssa: Run, material: Path, tmp_path: Path) -> None:
    nothing = tcssa("train-vqa", "--out", str(tmp_path / "x"))
    assert nothing.code == 2
    assert "give --data JSON --features DIR" in nothing.stderr
    words = options(material, tmp_path / "x")
    words[words.index("--llm") + 1] = "Qwen/none-such"
    absent = tcssa(*words)
    assert absent.code == 1
    assert "Traceback" not in absent.stderr
    second = tcssa(*options(material, tmp_path / "x"), "--stage", "2")
    assert second.code == 2
    assert "--from RUN" in second.stderr
