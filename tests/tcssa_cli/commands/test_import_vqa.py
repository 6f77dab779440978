"""`tcssa import-vqa` as a user calls it; the files are those of `tests/tcssa/vqa/model`."""

import json
from pathlib import Path

import torch
from command_line import Run
from factories import make_compressor, reference_state
from vqa_models import tiny_qwen3
from vqa_runs import slide_name, write_slides

from tcssa.vqa.model.projector import Projector, ProjectorConfig


def test_files_of_the_reference_become_a_run_that_is_scored(tcssa: Run, tmp_path: Path) -> None:
    llm = tiny_qwen3(tmp_path / "llm")
    torch.save(reference_state(make_compressor(), ""), tmp_path / "moe_compressor.pt")
    projector = Projector(ProjectorConfig(feature_dim=16, hidden_dim=8, token_dim=64))
    torch.save(projector.state_dict(), tmp_path / "projector.pt")
    parts = ("--compressor", tmp_path / "moe_compressor.pt", "--llm", llm, "--precision", "fp32")
    run = ("--projector", tmp_path / "projector.pt", "--out", tmp_path / "run")
    done = tcssa("import-vqa", *parts, *run)
    assert done.code == 0, done.stderr
    assert "asked without chat marks" in done.stderr
    told = [{"role": "user", "content": "What is seen?"}, {"role": "assistant", "content": "it"}]
    rows = [{"images": [slide_name(1)], "messages": told}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    scored = tcssa(
        "eval", tmp_path / "run", "--benchmark", "conversations", tmp_path / "q.jsonl",
        "--features", write_slides(tmp_path / "features", [1]), "--max-new-tokens", 3,
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert scored.code == 0, scored.stderr
    assert scored.json["open"]["num_texts"] == 1
    ordered = tcssa(
        "eval", tmp_path / "run", "--benchmark", "conversations", tmp_path / "q.jsonl",
        "--features", tmp_path / "features", "--permute",
    )  # fmt: skip
    assert ordered.code == 2
    assert "no question that is asked of" in " ".join(ordered.stderr.split())
    again = tcssa("import-vqa", *parts, *run)
    assert again.code == 1
    assert "holds something already" in " ".join(again.stderr.split())
    wrong = tcssa(
        "import-vqa", *parts, "--projector", tmp_path / "q.jsonl", "--out", tmp_path / "x"
    )
    assert wrong.code == 1
    assert not (tmp_path / "x").exists()
