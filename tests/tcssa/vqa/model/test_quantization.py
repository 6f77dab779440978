"""Language models in 4 and 8 bits: trained with, gone on with, loaded, merged, refused."""

import json
from pathlib import Path

import pytest
import torch
from optional_packages import needs_bitsandbytes
from vqa_training import tiny, write_material

from tcssa.errors import LlmError, UsageError
from tcssa.files.table import read_table
from tcssa.reporter import Silent
from tcssa.vqa.model.llm import load_llm
from tcssa.vqa.model.merge import merge_vqa
from tcssa.vqa.model.run import load_vqa
from tcssa.vqa.settings import inherited
from tcssa.vqa.training.train import train

LAYER = "layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("train"), tiny_llm_folder)


@needs_bitsandbytes
@pytest.mark.parametrize(("kind", "dtype"), [("nf4", torch.uint8), ("int8", torch.int8)])
def test_both_stages_learn_and_the_run_says_how(
    material: Path, tmp_path: Path, kind: str, dtype: torch.dtype
) -> None:
    llm = {"quantize": kind}
    train(tiny(material, llm=llm), tmp_path / "one", Silent())
    assert inherited({"train": {"from_run": tmp_path / "one"}})["llm"]["quantize"] == kind
    second = {"stage": 2, "from_run": tmp_path / "one", "epochs": 3}
    train(tiny(material, llm=llm, train=second), tmp_path / "two", Silent())
    lines = list(read_table(tmp_path / "two" / "history.csv").rows.values())
    assert float(lines[-1]["train_loss"]) < float(lines[0]["train_loss"])
    assert json.loads((tmp_path / "two" / "vqa.json").read_text())["llm"]["quantize"] == kind
    loaded = load_vqa(tmp_path / "two", device="cpu")
    assert loaded.describe()["llm_quantize"] == kind
    named = dict(loaded.model.llm.named_parameters())
    base = [value for name, value in named.items() if LAYER in name and "lora" not in name]
    assert [value.dtype for value in base] == [dtype]
    assert {value.dtype for name, value in named.items() if "lora" in name} == {torch.float32}
    merge_vqa(tmp_path / "two", tmp_path / "merged")
    merged = load_vqa(tmp_path / "merged", device="cpu").model.llm
    assert {value.dtype for value in merged.parameters()} == {torch.float32}


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_gradients_go_back_through_the_unpacked_weights(material: Path, kind: str) -> None:
    """Also after a validation, where bitsandbytes would pack weights of 4 bits for inference."""
    from bitsandbytes.functional import dequantize_4bit

    llm = load_llm(str(material / "llm"), quantize=kind).model
    layer = llm.get_submodule(f"model.{LAYER}")
    weight = layer.weight
    if kind == "nf4":
        unpacked = dequantize_4bit(weight.data, weight.quant_state)
    else:
        unpacked = weight.data * weight.SCB[:, None] / 127
    plain = load_llm(str(material / "llm")).model.get_submodule(f"model.{LAYER}").weight
    assert 0.001 < (unpacked - plain).norm() / plain.norm() < 0.1
    seen, gradient = torch.randn(3, 64), torch.randn(3, 128)
    with torch.no_grad():
        layer(seen)
    seen.requires_grad_()
    layer(seen).backward(gradient)
    assert seen.grad is not None
    torch.testing.assert_close(seen.grad, gradient @ unpacked, atol=2e-3, rtol=1e-2)


def test_what_cannot_be_quantised_is_refused(material: Path, tmp_path: Path) -> None:
    both = tiny(material, llm={"quantize": "nf4"}, train={"shard": True})
    with pytest.raises(UsageError, match="--shard divides weights that are not quantised"):
        train(both, tmp_path / "run", Silent())


def test_a_gguf_file_is_not_quantised_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcssa.vqa.model.llm._tokenizer", lambda *_, **__: None)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(LlmError, match="a GGUF file is not quantised again"):
        load_llm(str(file), quantize="nf4")
