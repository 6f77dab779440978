"""Answers right are those that greedy decoding would write."""

from pathlib import Path

import torch
from vqa_runs import load_tiny_vqa

from tcssa.vqa.answering.generate import Generate
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.prompts.prompt import IGNORED
from tcssa.vqa.training.batches import collate
from tcssa.vqa.training.rows import Row
from tcssa.vqa.training.samples import count_right


def row(ids: list[int], answer: list[int]) -> Row:
    labels = [IGNORED] * len(ids) + answer
    return Row(
        row_id="r", source="s", slide_id="S", case_ids=("S",), parts=((Path("S.h5"),),),
        input_ids=torch.tensor(ids + answer, dtype=torch.int32),
        labels=torch.tensor(labels, dtype=torch.int32),
        num_targets=len(answer), features_hashes={},
    )  # fmt: skip


def test_a_row_is_right_whose_answer_the_model_would_write(tmp_path: Path) -> None:
    loaded = load_tiny_vqa(tmp_path)
    model, prompts = loaded.model, loaded.prompts
    slots = torch.randn(6, model.visual.feature_dim)
    rows, expected = [], []
    for question in ("What is seen?", "Is it odd?"):
        ids = prompts.prompt_ids([prompts.question_turn(question)], 6)
        (written,) = Generate(model, prompts, max_new_tokens=5).tokens([Prompt(ids, slots)])
        other = [*written[:-1], written[-1] + 1]
        rows += [row(ids, written), row(ids, other)]
        expected += [1, 0]
    with torch.no_grad():
        output = model(collate(rows, lambda _: slots, prompts.pad_token_id, encoded=True))
    assert count_right(output.logits, rows) == 2
    logits = torch.split(output.logits, [each.num_targets for each in rows])
    found = [count_right(of, [one]) for of, one in zip(logits, rows, strict=True)]
    assert found == expected
