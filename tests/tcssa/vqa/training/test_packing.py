"""Packed rows: the loss and the gradients of rows that stand alone, or a refusal."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from vqa_models import wake_lora
from vqa_training import tiny, write_material

from tcssa.errors import UsageError
from tcssa.reporter import Silent
from tcssa.vqa.model.model_setup import load_parts
from tcssa.vqa.training.batches import collate
from tcssa.vqa.training.corpus import read_candidates
from tcssa.vqa.training.packing import collate_packed, packs, require_packable
from tcssa.vqa.training.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("packing"), tiny_llm_folder)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_packed_batch_has_the_loss_and_the_gradients_of_its_rows(
    material: Path, stage: int, attention: str
) -> None:
    options = {"stage": stage, "train_projector": True}
    settings = tiny(material, llm={"attention": attention}, train=options)
    parts = load_parts(settings, CPU)
    model = parts.model
    assert model.llm.config._attn_implementation == attention
    wake_lora(model.llm)
    rows = read_candidates(settings, parts).train[:5]
    tokens = {each.slide_id: torch.randn(6, model.visual.feature_dim) for each in rows}
    padded = collate(rows, lambda of: tokens[of.slide_id], parts.pad_id, encoded=True)
    packed = collate_packed(rows, lambda of: tokens[of.slide_id], encoded=True)
    found = []
    for batch in (padded, packed):
        model.zero_grad()
        output = model(batch)
        output.loss_sum.backward()
        trained = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        found.append({"loss": output.loss_sum.detach(), "logits": output.logits, **trained})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=2e-5, rtol=1e-4, msg=name)


def test_rows_are_cut_in_their_order_and_none_is_too_long() -> None:
    rows: list[Any] = [SimpleNamespace(length=length) for length in (5, 5, 9, 1, 2, 10)]
    lengths = [[each.length for each in part] for part in packs(rows, 10)]
    assert lengths == [[5, 5], [9, 1], [2], [10]]


def test_a_packed_training_ends_as_one_that_is_not(material: Path, tmp_path: Path) -> None:
    """A step of 4 rows is 1 micro-batch of 4 rows, or 2 packed ones of up to 3 rows."""
    corpus = {"max_length": 300}
    train(tiny(material, corpus=corpus), tmp_path / "padded", Silent())
    train(tiny(material, corpus=corpus, train={"pack": True}), tmp_path / "packed", Silent())
    one, other = (
        load_file(tmp_path / name / "projector.safetensors") for name in ("padded", "packed")
    )
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_a_model_that_mixes_packed_rows_is_refused() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=384, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, layer_types=["conv", "full_attention"],
        initializer_range=0.1,
    )  # fmt: skip
    model: Any = SimpleNamespace(llm=Lfm2ForCausalLM(config).eval(), eval=lambda: None)
    with pytest.raises(UsageError, match="keeps rows apart that lie behind each other"):
        require_packable(model)


def test_flash_attention_needs_a_gpu_and_bf16(material: Path, tmp_path: Path) -> None:
    settings = tiny(material, llm={"attention": "flash"})
    with pytest.raises(UsageError, match="needs a GPU and bf16; this is cpu and fp32"):
        train(settings, tmp_path / "run", Silent())
    assert not (tmp_path / "run").exists()
