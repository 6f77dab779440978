"""Files as the reference implementation leaves them, imported as a run."""

import json
import pickle
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_features, write_bag
from peft import LoraConfig, PeftModel, get_peft_model
from published_equations import Parameters, compress, draw, reference_state
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from vqa_models import tiny_qwen3, wake_lora

from tcssa.errors import CheckpointError, RunError, ShapeError
from tcssa.vqa.answering.prefill import Prompt, prefill
from tcssa.vqa.explain.slide_session import SlideOracle
from tcssa.vqa.model.reference_run import import_reference
from tcssa.vqa.model.reference_settings import ImportSettings
from tcssa.vqa.model.run import load_vqa

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"  # peft asks by a deprecated name
)
WIDTH, DIM = 64, 16


@dataclass(frozen=True)
class Published:
    """A trained model in the reference's own files, and what it computes with."""

    folder: Path
    compressor: Parameters
    projector: dict[str, Tensor]

    @property
    def lora(self) -> Path:
        return self.folder / "lora_adapter"

    def settings(self, **more: object) -> ImportSettings:
        values = {"llm": str(self.folder / "llm"), "precision": "fp32", **more}
        return ImportSettings.model_validate(values)

    def imported(self, out: Path, lora: Path | None = None, **more: object) -> int:
        return import_reference(
            self.folder / "moe_compressor.pt",
            self.folder / "projector.pt",
            out,
            lora or self.lora,
            self.settings(**more),
        )


def resized(folder: Path) -> tuple[Any, Any]:
    """Language model and tokenizer, with the token ``<image>`` that the reference adds."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    return model, tokenizer


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    tiny_qwen3(folder / "llm")
    compressor = draw(num_slots=6, feature_dim=DIM, hidden_dim=8, seed=0)
    state = {name: torch.tensor(v).float() for name, v in reference_state(compressor).items()}
    torch.save(state, folder / "moe_compressor.pt")
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(DIM, 32), nn.GELU(), nn.Linear(32, WIDTH))
    projector = {f"proj.{name}": value for name, value in layers.state_dict().items()}
    torch.save(projector, folder / "projector.pt")
    model, _ = resized(folder / "llm")
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    wake_lora(adapted)
    adapted.save_pretrained(folder / "lora_adapter", save_embedding_layers=True)
    return Published(folder, compressor, projector)


@torch.no_grad()
def as_published(published: Published, text: str, features: Tensor) -> Tensor:
    """The next token's logits, as the reference's evaluation computes them."""
    model, tokenizer = resized(published.folder / "llm")
    model = PeftModel.from_pretrained(model, published.lora).eval()
    slots = torch.tensor(compress(published.compressor, features.double().numpy()).slots).float()
    weights = published.projector
    hidden = nn.functional.gelu(slots @ weights["proj.0.weight"].T + weights["proj.0.bias"])
    tokens = hidden @ weights["proj.2.weight"].T + weights["proj.2.bias"]
    ids = torch.tensor(tokenizer(text)["input_ids"])
    (place,) = (ids == tokenizer.convert_tokens_to_ids("<image>")).nonzero()[0].tolist()
    embeds = model.get_input_embeddings()(ids)
    embeds = torch.cat([embeds[:place], tokens, embeds[place + 1 :]])
    logits: Tensor = model(inputs_embeds=embeds[None]).logits[0, -1]
    return logits


def test_logits_are_those_of_the_published_evaluation(published: Published, tmp_path: Path) -> None:
    assert published.imported(tmp_path / "run") == len(beside_lora(published))
    loaded = load_vqa(tmp_path / "run", device="cpu")
    features = make_features(60, DIM, seed=4)
    turn = loaded.prompts.question_turn("What is it?", ("this", "that"))
    slots, _ = loaded.model.visual(features, "S1")
    ids = loaded.prompts.prompt_ids([turn], len(slots))
    (step,) = prefill(loaded.model, [Prompt(ids, slots)], 1)
    theirs = as_published(published, turn.text, features)
    ours = step.logits[0, : len(theirs)]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        loaded.model.llm.disable_adapter_layers()
        (plain,) = prefill(loaded.model, [Prompt(ids, slots)], 1)
    assert not torch.allclose(plain.logits[0, : len(theirs)], theirs, atol=1e-2)


def beside_lora(published: Published) -> list[str]:
    """Embeddings that peft saved with LoRA."""
    tensors = load_file(published.lora / "adapter_model.safetensors")
    names = [name for name in tensors if "lora_" not in name]
    assert names
    return names


def test_it_is_a_run_like_any_other(published: Published, tmp_path: Path) -> None:
    published.imported(tmp_path / "run", encoder="test_encoder", chat_template=True)
    write_bag(tmp_path / "S1.h5", 40)
    loaded = load_vqa(tmp_path / "run", device="cpu")
    assert (loaded.settings.stage, loaded.settings.encoder) == (2, "test_encoder")
    assert loaded.settings.template.before_user
    assert SlideOracle(loaded, tmp_path / "S1.h5").ask("What?", ["a", "b"]).predicted in (0, 1)
    with pytest.raises(RunError, match="holds something already"):
        published.imported(tmp_path / "run")


def test_without_an_adapter_it_is_of_stage_1(published: Published, tmp_path: Path) -> None:
    (tmp_path / ".run.tcssa-part").mkdir()  # of an import that was killed
    parts = (published.folder / "moe_compressor.pt", published.folder / "projector.pt")
    assert import_reference(*parts, tmp_path / "run", None, published.settings()) == 0
    assert load_vqa(tmp_path / "run", device="cpu").settings.stage == 1


def test_a_pickled_adapter_is_the_same(published: Published, tmp_path: Path) -> None:
    folder = shutil.copytree(published.lora, tmp_path / "lora")
    path = folder / "adapter_model.safetensors"
    torch.save(load_file(path), folder / "adapter_model.bin")
    path.unlink()
    for name, lora in {"one": published.lora, "other": folder}.items():
        published.imported(tmp_path / name, lora)
    file = Path("adapter", "adapter_model.safetensors")
    one, other = (load_file(tmp_path / name / file) for name in ("one", "other"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def edited(published: Published, folder: Path, **tensors: Tensor) -> Path:
    shutil.copytree(published.lora, folder)
    path = folder / "adapter_model.safetensors"
    save_file({**load_file(path), **tensors}, path)
    return folder


def test_embeddings_that_were_trained_are_refused(published: Published, tmp_path: Path) -> None:
    (name, *_) = beside_lora(published)
    changed = load_file(published.lora / "adapter_model.safetensors")[name] + 0.1
    lora = edited(published, tmp_path / "lora", **{name: changed})
    with pytest.raises(CheckpointError, match="not the language model's own"):
        published.imported(tmp_path / "run", lora)
    other = edited(published, tmp_path / "other", **{"base_model.model.x.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match="no part of LoRA"):
        published.imported(tmp_path / "run", other)
    assert not (tmp_path / "run").exists()


def test_an_adapter_s_settings_are_read_strictly(published: Published, tmp_path: Path) -> None:
    lora = shutil.copytree(published.lora, tmp_path / "lora")
    path = lora / "adapter_config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "of_another_version": None, "and_one_more": []}))
    published.imported(tmp_path / "run", lora)
    path.write_text(json.dumps({**content, "of_another_version": "act"}))
    with pytest.raises(CheckpointError, match=r"lora/adapter_config\.json: sets 'of_another"):
        published.imported(tmp_path / "again", lora)


class Acts:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("import antigravity",))


@pytest.mark.parametrize("name", ["moe_compressor.pt", "projector.pt", "adapter_model.bin"])
def test_no_code_from_a_file_runs(published: Published, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(published.folder, tmp_path / "published")
    (folder / "lora_adapter" / "adapter_model.safetensors").unlink()
    path = folder / "lora_adapter" / name if name.endswith("bin") else folder / name
    path.write_bytes(pickle.dumps({"x": Acts()}))
    with pytest.raises(CheckpointError):
        Published(folder, published.compressor, published.projector).imported(tmp_path / "run")
    assert "antigravity" not in sys.modules


def test_parts_that_do_not_fit_are_refused(published: Published, tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(DIM, 32), nn.GELU(), nn.Linear(32, WIDTH + 1))
    state = {f"proj.{name}": value for name, value in layers.state_dict().items()}
    torch.save(state, tmp_path / "projector.pt")
    with pytest.raises(ShapeError, match="it should bring 16 to 64"):
        import_reference(
            published.folder / "moe_compressor.pt",
            tmp_path / "projector.pt",
            tmp_path / "run",
            settings=published.settings(),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["projector.pt"]
