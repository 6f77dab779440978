"""The slide language model: splicing, losses, what trains and what does not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from factories import make_compressor, make_features
from torch import Tensor
from torch.nn import functional as F
from vqa_models import wake_lora

from tcssa.errors import ShapeError, UsageError
from tcssa.vqa.conversation import Turn
from tcssa.vqa.model.llm import LoadedLLM
from tcssa.vqa.model.lora import add_lora
from tcssa.vqa.model.model import Batch, SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder, Supervised
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import LoraSettings

D, K, WIDTH = 16, 6, 64
TALKS = [
    [Turn("user", "Is it tumour?"), Turn("assistant", "Yes.")],
    [
        Turn("user", "What organ is seen on this slide?"),
        Turn("assistant", "The lung."),
        Turn("user", "See <image> again: which subtype?"),
        Turn("assistant", "Squamous cell carcinoma."),
    ],
    [Turn("system", "Be brief."), Turn("user", "<image> Grade?"), Turn("assistant", "2")],
]


def make_model(
    llm: LoadedLLM, *, kind: str = "tcssa", lora: bool = False
) -> tuple[SlideLanguageModel, PromptBuilder]:
    """A slide language model, frozen and in evaluation mode, and its prompt builder."""
    torch.manual_seed(3)
    prompts = PromptBuilder(llm.tokenizer, ChatTemplate.of(llm.tokenizer))
    projector = Projector(ProjectorConfig(feature_dim=D, hidden_dim=32, token_dim=WIDTH))
    config = VisualConfig.model_validate({"kind": kind, "feature_dim": D})
    visual = build_visual(config, make_compressor() if kind == "tcssa" else None)
    inner = add_lora(llm.model, LoraSettings(rank=4)) if lora else llm.model
    if lora:
        wake_lora(inner)
    return SlideLanguageModel(visual, projector, inner, prompts.image_token_id), prompts


def make_batch(
    rows: Sequence[Supervised], slides: Sequence[Tensor], *, pad_left: bool = False
) -> Batch:
    """Rows padded to the longest, on either side, with a token that means something."""
    longest = max(len(row.input_ids) for row in rows)
    filler = rows[0].input_ids[0]  # a turn begins with it

    def padded(values: Sequence[int], fill: int) -> list[int]:
        filling = [fill] * (longest - len(values))
        return [*filling, *values] if pad_left else [*values, *filling]

    return Batch(
        input_ids=torch.tensor([padded(row.input_ids, filler) for row in rows]),
        attention_mask=torch.tensor([padded([1] * len(row.input_ids), 0) for row in rows]),
        labels=torch.tensor([padded(row.labels, -100) for row in rows]),
        visual=list(slides),
        slide_ids=[f"slide {i}" for i in range(len(rows))],
    )


def make_rows(prompts: PromptBuilder) -> tuple[list[Supervised], list[Tensor]]:
    """Three conversations of different lengths, each about a slide of its own."""
    rows = [prompts.conversation_ids(turns, K) for turns in TALKS]
    return rows, [make_features(10 + 7 * i, seed=i) for i in range(len(rows))]


def test_splicing_is_concatenation(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm)
    turns = [[Turn("user", "before <image> after")], [Turn("user", "<image>")]]
    visual = [make_features(K, seed=1), make_features(2, seed=2)]
    ids = [prompts.prompt_ids(talk, len(seen)) for talk, seen in zip(turns, visual, strict=True)]
    for row, seen in zip(ids, visual, strict=True):
        begin = row.index(prompts.image_token_id)
        end = begin + len(seen)
        embed = model.llm.get_input_embeddings()
        parts = [
            embed(torch.tensor(row[:begin])),
            model.projector(seen),
            embed(torch.tensor(row[end:])),
        ]
        assert torch.equal(model.embed(torch.tensor([row]), [seen])[0], torch.cat(parts))
    # of two rows each gets its own, wherever they stand
    longest = max(map(len, ids))
    together = model.embed(torch.tensor([[0] * (longest - len(r)) + r for r in ids]), visual)
    for embeds, row, seen in zip(together, ids, visual, strict=True):
        alone = model.embed(torch.tensor([row]), [seen])[0]
        assert torch.allclose(embeds[longest - len(row) :], alone, atol=1e-6)


@pytest.mark.parametrize("counts", [(K, K), (K - 1, K), (2 * K, 0), (0, 0)])
def test_places_and_tokens_must_match_row_by_row(
    tiny_llm: LoadedLLM, counts: tuple[int, int]
) -> None:
    model, prompts = make_model(tiny_llm)
    row = prompts.prompt_ids([Turn("user", "a")], K)
    visual = [make_features(count) for count in counts]
    if counts == (K, K):
        assert model.embed(torch.tensor([row, row]), visual).shape == (2, len(row), WIDTH)
    else:
        with pytest.raises(ShapeError, match=r"rows have \[6, 6\] places for visual tokens"):
            model.embed(torch.tensor([row, row]), visual)


def test_the_loss_is_the_plain_one_over_what_is_learned(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm)
    rows, slides = make_rows(prompts)
    for row, slide in zip(rows, slides, strict=True):
        output = model(make_batch([row], [slide]))
        tokens, _ = model.visual(slide, "s")
        embeds = model.embed(torch.tensor([row.input_ids]), [tokens])
        logits = model.llm(inputs_embeds=embeds).logits[0, :-1]
        labels = torch.tensor(row.labels[1:])
        expected = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        assert output.num_targets == row.num_supervised
        assert torch.allclose(output.loss_sum, expected, rtol=1e-5)
        assert torch.allclose(output.logits, logits[labels != -100], atol=1e-5)


@pytest.mark.parametrize("pad_left", [False, True])
def test_a_row_is_the_same_alone_and_in_a_batch_padded_on_either_side(
    tiny_llm: LoadedLLM, pad_left: bool
) -> None:
    model, prompts = make_model(tiny_llm)
    rows, slides = make_rows(prompts)
    alone = [model(make_batch([row], [slide])) for row, slide in zip(rows, slides, strict=True)]
    batch = model(make_batch(rows, slides, pad_left=pad_left))
    assert torch.allclose(batch.logits, torch.cat([each.logits for each in alone]), atol=1e-4)
    assert batch.num_targets == sum(each.num_targets for each in alone)
    assert torch.allclose(batch.loss_sum, sum(each.loss_sum for each in alone), rtol=1e-5)


def test_a_slides_tokens_go_in_as_well_as_its_features(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm)
    rows, slides = make_rows(prompts)
    features = make_batch(rows, slides)
    tokens = [model.visual(slide, "s")[0] for slide in slides]
    encoded = replace(features, visual=tokens, encoded=True)
    assert torch.equal(model(features).logits, model(encoded).logits)


def test_the_slide_changes_the_answer(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm)
    rows, slides = make_rows(prompts)
    swapped = make_batch(rows, [slides[1], slides[2], slides[0]])
    assert not torch.allclose(model(swapped).logits, model(make_batch(rows, slides)).logits)


def trained_parts(model: SlideLanguageModel, prompts: PromptBuilder) -> set[str]:
    """The parts that a backward pass reaches, all of whose parameters get a gradient."""
    model.train()
    rows, slides = make_rows(prompts)
    output = model(make_batch(rows, slides))
    loss = output.loss_sum / output.num_targets
    if output.aux_loss is not None:
        loss = loss + 0.1 * output.aux_loss
    loss.backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None
        assert reached == parameter.requires_grad, name
        if reached and "experts" not in name:  # an empty slot's expert may get zeros
            assert bool(parameter.grad.abs().sum() > 0), name
    kinds = {
        "lora" if "lora_" in name else name.split(".")[0] if "visual" not in name else "visual"
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad()
    return kinds


@pytest.mark.parametrize(
    ("stage", "options", "expected"),
    [
        (1, {}, {"projector"}),
        (1, {"train_compressor": True}, {"projector", "visual"}),
        (2, {}, {"lora"}),
        (2, {"train_projector": True}, {"lora", "projector"}),
        (2, {"train_compressor": True}, {"lora", "visual"}),
        (2, {"train_compressor": True, "train_projector": True}, {"lora", "projector", "visual"}),
    ],
)
def test_gradients_flow_where_the_stage_says(
    tiny_llm: LoadedLLM, stage: int, options: dict[str, bool], expected: set[str]
) -> None:
    model, prompts = make_model(tiny_llm, lora=stage == 2)
    model.set_trainable(1 if stage == 1 else 2, **options)
    assert trained_parts(model, prompts) == expected


def test_the_pooling_of_abmil_trains_with_the_projector(tiny_llm: LoadedLLM) -> None:
    model, _ = make_model(tiny_llm, kind="abmil", lora=True)
    for stage, options, trains in (
        (1, {}, True), (2, {}, False), (2, {"train_projector": True}, True),
    ):  # fmt: skip
        model.set_trainable(1 if stage == 1 else 2, **options)
        assert all(p.requires_grad == trains for p in model.visual.parameters())


def test_what_cannot_train_is_refused(tiny_llm: LoadedLLM) -> None:
    model, _ = make_model(tiny_llm, kind="mean")
    with pytest.raises(UsageError, match="--train-compressor needs --visual tcssa, not mean"):
        model.set_trainable(1, train_compressor=True)
    with pytest.raises(UsageError, match="has none"):
        model.set_trainable(2)


def test_frozen_parts_stay_in_evaluation_mode(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm, lora=True)
    rows, slides = make_rows(prompts)

    def in_training() -> set[str]:
        return {name for name, module in model.named_modules() if name and module.training}

    model.set_trainable(1)
    model.train()
    assert {name.split(".")[0] for name in in_training()} == {"projector"}
    # so two passes agree, though a compressor in training mode draws noise and dropout
    batch = make_batch(rows, slides)
    assert torch.equal(model(batch).loss_sum, model(batch).loss_sum)
    assert model(batch).aux_loss is None
    model.set_trainable(2, train_compressor=True)
    model.train()
    assert {name.split(".")[0] for name in in_training()} == {"visual", "llm"}
    assert all("lora_" in name for name in in_training() if name.startswith("llm"))
    assert not torch.equal(model(batch).loss_sum, model(batch).loss_sum)
    assert model(batch).aux_loss is not None
    model.eval()
    assert not in_training()
    assert model(batch).aux_loss is None


def test_the_balance_loss_is_the_mean_over_rows_however_they_are_cut(tiny_llm: LoadedLLM) -> None:
    model, prompts = make_model(tiny_llm)
    model.visual.compressor.router.noise_std = 0.0  # type: ignore[union-attr]  # it has one
    model.set_trainable(1, train_compressor=True)
    model.train()
    rows, slides = make_rows(prompts)
    whole = model(make_batch(rows, slides)).aux_loss
    parts = [
        model(make_batch([row], [slide])).aux_loss for row, slide in zip(rows, slides, strict=True)
    ]
    assert torch.allclose(whole, sum(parts) / len(parts))


def test_parts_that_do_not_fit_are_refused(tiny_llm: LoadedLLM) -> None:
    _, prompts = make_model(tiny_llm)
    visual = build_visual(VisualConfig(kind="mean", feature_dim=D))
    for shape in ((D, WIDTH + 1), (D + 1, WIDTH)):
        projector = Projector(ProjectorConfig(feature_dim=shape[0], token_dim=shape[1]))
        with pytest.raises(ShapeError, match="it should bring 16 to 64"):
            SlideLanguageModel(visual, projector, tiny_llm.model, prompts.image_token_id)


def test_lora_trains_every_linear_layer_but_the_head_and_starts_at_nothing(
    tiny_llm: LoadedLLM,
) -> None:
    model, prompts = make_model(tiny_llm)
    rows, slides = make_rows(prompts)
    before = model(make_batch(rows, slides)).logits
    adapted = add_lora(tiny_llm.model, LoraSettings())
    model = SlideLanguageModel(model.visual, model.projector, adapted, prompts.image_token_id)
    assert torch.equal(model(make_batch(rows, slides)).logits, before)
    config = adapted.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (16, 32, 0.05)
    layers = {name.split(".lora_")[0].split(".")[-1] for name, _ in adapted.named_parameters()
              if "lora_" in name}  # fmt: skip
    assert layers == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
