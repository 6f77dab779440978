"""The run directory: what was saved comes back to the bit, or not at all."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from factories import make_compressor, make_features
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from vqa_models import qwen3_tokenizer, tiny_qwen3, wake_lora

from tcssa.compressor import load_compressor
from tcssa.errors import CheckpointError, LlmError, RunError
from tcssa.vqa.conversation import Turn
from tcssa.vqa.model.adapter import load_adapter
from tcssa.vqa.model.llm import LoadedLLM, load_llm
from tcssa.vqa.model.lora import add_lora
from tcssa.vqa.model.merge import merge_vqa
from tcssa.vqa.model.model import Batch, SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.run import LoadedVqa, load_vqa, save_vqa
from tcssa.vqa.model.run_file import read_vqa
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import LoraSettings, VisualKind

D = 16


def make_run(
    folder: Path, llm: LoadedLLM, *, kind: VisualKind = "tcssa", lora: bool = True
) -> tuple[SlideLanguageModel, PromptBuilder]:
    """Save a run with random weights, and return what was saved."""
    torch.manual_seed(5)
    prompts = PromptBuilder(llm.tokenizer, ChatTemplate.of(llm.tokenizer), system="Be brief.")
    width = llm.model.get_input_embeddings().weight.shape[1]
    projector = Projector(ProjectorConfig(feature_dim=D, hidden_dim=32, token_dim=width))
    config = VisualConfig(kind=kind, feature_dim=D, num_tokens=4)
    visual = build_visual(config, make_compressor(seed=5) if kind == "tcssa" else None)
    inner = add_lora(llm.model, LoraSettings(rank=4)) if lora else llm.model
    if lora:
        wake_lora(inner)
    model = SlideLanguageModel(visual, projector, inner, prompts.image_token_id)
    save_vqa(folder, model, prompts, llm, stage=2 if lora else 1, encoder="test_encoder")
    return model, prompts


@torch.no_grad()
def logits_of(model: SlideLanguageModel, prompts: PromptBuilder) -> Tensor:
    """What the model makes of a conversation about a slide."""
    features = make_features(20)
    turns = [Turn("user", "<image> Tumour?"), Turn("assistant", "Yes, squamous.")]
    row = prompts.conversation_ids(turns, model.visual.num_tokens(len(features)))
    ids = torch.tensor([row.input_ids])
    batch = Batch(ids, torch.ones_like(ids), torch.tensor([row.labels]), [features], ["slide"])
    return torch.as_tensor(model(batch).logits)


@pytest.mark.parametrize(
    ("kind", "lora"),
    [("tcssa", False), ("tcssa", True), ("sample", False), ("mean", False), ("abmil", True),
     ("full", False), ("topm", True), ("kmeans", False)],
)  # fmt: skip
def test_a_run_comes_back_to_the_bit(
    tmp_path: Path, tiny_llm: LoadedLLM, kind: VisualKind, lora: bool
) -> None:
    model, prompts = make_run(tmp_path / "run", tiny_llm, kind=kind, lora=lora)
    before = logits_of(model, prompts)
    loaded = load_vqa(tmp_path / "run", device="cpu")
    assert torch.equal(logits_of(loaded.model, loaded.prompts), before)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.settings.visual.kind == kind
    assert loaded.settings.encoder == "test_encoder"
    assert loaded.prompts.system == "Be brief."
    assert loaded.settings.num_visual_tokens == {"tcssa": 6, "mean": 1, "abmil": 1}.get(kind)


def test_a_loaded_run_saves_to_the_same_bytes(tmp_path: Path, tiny_llm: LoadedLLM) -> None:
    make_run(tmp_path / "run", tiny_llm)
    loaded = load_vqa(tmp_path / "run", device="cpu")
    save_vqa(
        tmp_path / "again", loaded.model, loaded.prompts, loaded.llm, stage=2,
        encoder=loaded.settings.encoder,
    )  # fmt: skip
    assert read_vqa(tmp_path / "again") == read_vqa(tmp_path / "run")
    assert loaded.fingerprint() == load_vqa(tmp_path / "again", device="cpu").fingerprint()


@pytest.fixture
def real_vocabulary(tmp_path: Path) -> LoadedLLM:
    """A tiny Qwen3 of 151,936 tokens, where the real tokenizer is at hand."""
    return load_llm(str(tiny_qwen3(tmp_path / "llm", tokenizer=qwen3_tokenizer())))


def test_the_vocabulary_keeps_its_size_and_the_adapter_holds_no_embeddings(
    tmp_path: Path, real_vocabulary: LoadedLLM
) -> None:
    before = real_vocabulary.model.get_input_embeddings().weight.shape
    make_run(tmp_path / "run", real_vocabulary)
    loaded = load_vqa(tmp_path / "run", device="cpu")
    assert loaded.model.llm.get_input_embeddings().weight.shape == before
    assert len(loaded.prompts.tokenizer) == len(real_vocabulary.tokenizer)
    tensors = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 7 * 2  # layers, linear layers in each, matrices
    assert all(".lora_A." in name or ".lora_B." in name for name in tensors)
    size = (tmp_path / "run" / "adapter" / "adapter_model.safetensors").stat().st_size
    assert size < 100_000  # the embeddings alone would be 39 MB


def test_projector_and_compressor_stand_at_the_top_for_export(
    tmp_path: Path, tiny_llm: LoadedLLM
) -> None:
    model, _ = make_run(tmp_path / "run", tiny_llm)
    projector = Projector.load(tmp_path / "run" / "projector.safetensors")
    compressor = load_compressor(tmp_path / "run" / "compressor.safetensors")
    features = make_features(9)
    slots = compressor.compress([features]).slots[0]
    assert torch.equal(projector(slots), model.projector(model.visual(features, "s")[0]))


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def change(name: str) -> Callable[[Path], None]:
    def flip(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[-1] ^= 1
        (run / name).write_bytes(content)

    return flip


PIECES = [
    "compressor.safetensors", "projector.safetensors", "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, tiny_llm_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    make_run(folder, load_llm(str(tiny_llm_folder)))
    return folder


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of a run that a test may spoil."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(remove, "the run lacks this file"), (change, "is not the file that was saved")],
)
def test_a_piece_that_is_missing_or_another_is_named(
    run: Path, name: str, spoil: Callable[[str], Callable[[Path], None]], reason: str
) -> None:
    spoil(name)(run)
    with pytest.raises(RunError, match=reason) as error:
        load_vqa(run, device="cpu")
    assert error.value.path == run / name
    assert "\n" not in str(error.value)


def edit(run: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads((run / "vqa.json").read_text())
    change(content)
    (run / "vqa.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (remove("vqa.json"), r"no finished run of train-vqa \(no vqa.json\)"),
        (lambda run: (run / "vqa.json").write_text("{"), "is not valid JSON"),
        (lambda run: (run / "vqa.json").write_text("[]"), "must hold an object"),
        (lambda run: edit(run, lambda c: c.update(schema_version=9)), "schema version 9"),
        (lambda run: edit(run, lambda c: c.pop("image_token")), "not valid: image_token"),
        (lambda run: edit(run, lambda c: c.update(surprise=1)), "not valid: surprise"),
        (
            lambda run: edit(run, lambda c: c["files"].pop("projector.safetensors")),  # type: ignore[attr-defined]
            "lists no projector.safetensors",
        ),
        (
            lambda run: edit(
                run,
                lambda c: [c["files"].pop(n) for n in list(c["files"]) if "adapter" in n],  # type: ignore[attr-defined,call-overload]
            ),
            "lists no adapter",
        ),
    ],
)
def test_a_spoiled_vqa_json_is_refused(
    run: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(run)
    with pytest.raises(RunError, match=reason):
        load_vqa(run, device="cpu")


def test_another_base_model_is_refused(run: Path, tmp_path: Path) -> None:
    other = tiny_qwen3(tmp_path / "other", seed=9)
    with pytest.raises(RunError, match="was trained on a language model of SHA-256") as error:
        load_vqa(run, llm=str(other), device="cpu")
    assert "--llm" in str(error.value.hint)


def test_the_same_base_model_elsewhere_is_the_same(run: Path, tmp_path: Path) -> None:
    settings = read_vqa(run)
    moved = shutil.copytree(settings.llm.id, tmp_path / "moved")
    here, there = load_vqa(run, device="cpu"), load_vqa(run, llm=str(moved), device="cpu")
    assert here.fingerprint() == there.fingerprint()
    edit(run, lambda c: c["llm"].update(id=str(tmp_path / "gone")))  # type: ignore[attr-defined]
    with pytest.raises(LlmError, match="neither a folder, a file"):
        load_vqa(run, device="cpu")


def test_an_adapter_of_another_shape_is_refused(run: Path) -> None:
    llm = load_llm(read_vqa(run).llm.id)
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    with pytest.raises(CheckpointError, match="28 differ"):
        load_adapter(run / "adapter", llm.model)


def test_describing_a_run_is_plain_data_without_paths(run: Path) -> None:
    described = load_vqa(run, device="cpu").describe()
    assert json.loads(json.dumps(described)) == described
    assert described["visual"] == "tcssa"
    assert str(run.parent) not in json.dumps(described)
    assert "/" not in str(described["llm"])


def answers_alike(one: LoadedVqa, other: LoadedVqa) -> bool:
    return torch.allclose(
        logits_of(one.model, one.prompts), logits_of(other.model, other.prompts), atol=1e-4
    )


def test_a_merged_folder_needs_nothing_else(tmp_path: Path, tiny_llm_folder: Path) -> None:
    folder = shutil.copytree(tiny_llm_folder, tmp_path / "llm")
    make_run(tmp_path / "run", load_llm(str(folder)))
    before = load_vqa(tmp_path / "run", device="cpu")
    merge_vqa(tmp_path / "run", tmp_path / "merged")
    shutil.rmtree(folder)
    merged = load_vqa(tmp_path / "merged", device="cpu")
    assert merged.settings.llm.id == "."
    assert not merged.model.has_lora
    assert answers_alike(merged, before)
    # LoRA matters, so that it would show if it were lost
    before.model.llm.disable_adapter_layers()
    assert not answers_alike(merged, before)
    # and transformers reads it for text
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert torch.equal(model.lm_head.weight, merged.model.llm.lm_head.weight)
    masked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        return_dict=True, return_assistant_tokens_mask=True,
    )  # fmt: skip
    assert sum(masked["assistant_masks"]) == 2


def test_a_merged_folder_is_strict_too(tmp_path: Path, whole_run: Path) -> None:
    out = tmp_path / "merged"
    merge_vqa(whole_run, out)
    with pytest.raises(RunError, match="holds something already"):
        merge_vqa(whole_run, out)
    with pytest.raises(RunError, match="is merged already"):
        merge_vqa(out, tmp_path / "again")
    change("model.safetensors")(out)
    with pytest.raises(RunError, match="was trained on a language model of SHA-256"):
        load_vqa(out, device="cpu")


ACTING: list[dict[str, object]] = [
    {"megatron_core": "os", "megatron_config": {"tensor_model_parallel_size": 1}},
    {"megatron_core": "antigravity"},
    {"target_modules": "(.*)*x"},
    {"target_modules": [1, 2]},
    {"modules_to_save": ["lm_head"]},
    {"init_lora_weights": "pissa"},
    {"use_dora": True},
    {"auto_mapping": {"base_model_class": "x", "parent_library": "os"}},
    {"peft_type": "PREFIX_TUNING"},
    {"task_type": "SEQ_CLS"},
    {"rank_pattern": {"q_proj": 9}},
    {"layer_replication": [[0, 10**9]]},
    {"r": "8"},
    {"r": 10**9},
    {"lora_alpha": float("inf")},
    {"lora_dropout": 1.0},
    {"surprise": 1},
]


@pytest.mark.parametrize("said", ACTING)
def test_an_adapter_says_what_ours_say_and_no_more(
    whole_run: Path, tmp_path: Path, loaded_tiny_llm: LoadedLLM, said: dict[str, object]
) -> None:
    shutil.copytree(whole_run / "adapter", tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: "):
        load_adapter(tmp_path / "adapter", loaded_tiny_llm.model)
    assert "antigravity" not in sys.modules


def test_a_run_s_word_does_not_let_code_of_its_language_model_run(run: Path) -> None:
    edit(run, lambda c: c["llm"].update(trust_remote_code=True))  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"vqa\.json: asks for --trust-remote-code") as caught:
        load_vqa(run, device="cpu")
    assert caught.value.hint is not None
    assert "give it yourself: --trust-remote-code" in caught.value.hint
    assert load_vqa(run, trust_remote_code=True, device="cpu").settings.llm.trust_remote_code


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "adapter/../../x", "", "x" * 300])
def test_a_run_s_files_lie_in_its_folder(run: Path, name: str) -> None:
    edit(run, lambda c: c["files"].update({name: "0" * 64}))  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="no plain name"):
        load_vqa(run, device="cpu")


@pytest.mark.parametrize("dtype", ["load", "float64", "__builtins__", 3])
def test_a_run_s_dtype_is_one_of_three(run: Path, dtype: object) -> None:
    edit(run, lambda c: c["llm"].update(dtype=dtype))  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"llm\.dtype"):
        load_vqa(run, device="cpu")
