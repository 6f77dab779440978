"""Language models from where they lie, and one clear line where they do not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from vqa_models import smollm2_file

from tcssa.errors import CheckpointError, LlmError, TcssaError
from tcssa.files.checksums import file_sha256
from tcssa.vqa.conversation import Turn
from tcssa.vqa.model.llm import LoadedLLM, hash_of_files, load_llm
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_folder_gives_model_tokenizer_and_the_hash_of_its_weights(
    tiny_llm: LoadedLLM, tiny_llm_folder: Path
) -> None:
    assert tiny_llm.id == str(tiny_llm_folder)
    assert tiny_llm.sha256 == file_sha256(tiny_llm_folder / "model.safetensors")
    assert not tiny_llm.model.training
    assert tiny_llm.model.dtype == torch.float32
    assert tiny_llm.tokenizer.chat_template


def test_the_weights_come_in_the_type_that_is_asked_for(tiny_llm_folder: Path) -> None:
    assert load_llm(str(tiny_llm_folder), dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_a_name_is_found_in_the_hubs_cache(tiny_llm_folder: Path, hub_cache: Path) -> None:
    repo = hub_cache / "models--some--model"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tiny_llm_folder, repo / "snapshots" / ("0" * 40))
    loaded = load_llm("some/model")
    assert loaded.id == "some/model"
    assert loaded.sha256 == file_sha256(tiny_llm_folder / "model.safetensors")


def test_a_name_that_is_not_here_is_not_fetched(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **options: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.create_connection", no_network)
    with pytest.raises(LlmError, match="neither a folder, a file, nor in the local cache") as error:
        load_llm("some/model")
    assert "--allow-hub" in str(error.value.hint)
    assert not hub_cache.exists() or not list(hub_cache.glob("models--*/snapshots/*"))


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "~/nothing-here", "a b"])
def test_a_path_that_is_not_there_is_said_to_be(name: str, hub_cache: Path) -> None:
    with pytest.raises(LlmError, match="neither a folder, a file") as error:
        load_llm(name)
    assert "--llm" in str(error.value.hint)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LlmError, match="holds no language model"):
        load_llm(str(tmp_path))
    (tmp_path / "some.gguf").touch()
    with pytest.raises(LlmError, match=r"there is some\.gguf") as error:
        load_llm(str(tmp_path))
    assert "the .gguf file itself" in str(error.value.hint)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"pickle")
    with pytest.raises(LlmError, match="is no language model"):
        load_llm(str(tmp_path / "model.bin"))


def test_broken_weights_are_one_line(tiny_llm_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_llm_folder, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LlmError, match="cannot be loaded") as error:
        load_llm(str(folder))
    assert "\n" not in str(error.value)


def test_weights_that_lack_a_tensor_are_refused_not_filled_at_random(
    tiny_llm_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "lacking"
    shutil.copytree(tiny_llm_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LlmError, match=r"lack 1 tensors .* model\.layers\.1\.mlp\.up_proj\.weight"):
        load_llm(str(folder))


def test_several_files_hash_as_sha256sum_lists_them(tmp_path: Path) -> None:
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (tmp_path / name).write_text(name)
    files = sorted(tmp_path.iterdir())
    both = hash_of_files(files)
    lines = tmp_path / "lines"
    lines.write_text("".join(f"{file_sha256(file)}  {file.name}\n" for file in files))
    assert both == file_sha256(lines)
    files[0].write_text("changed")
    assert hash_of_files(files) != both


def test_smollm2_loads_from_gguf_and_answers_through_our_template(tmp_path: Path) -> None:
    loaded = load_llm(str(smollm2_file()))
    assert loaded.sha256 == file_sha256(smollm2_file())
    prompts = PromptBuilder(loaded.tokenizer, ChatTemplate.of(loaded.tokenizer))
    assert prompts.image_token == "<empty_output>"
    ids = prompts.prompt_ids([Turn("user", "What is the capital of France?")], 0)
    with torch.no_grad():
        written = loaded.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids)),
            max_new_tokens=10,
            do_sample=False,
        )
    answer = written[0, len(ids) :].tolist()
    assert "Paris" in loaded.tokenizer.decode(answer)
    assert answer[-1] == prompts.end_token_id
    # a run keeps the tokenizer as files of its own
    loaded.tokenizer.save_pretrained(tmp_path)
    kept = AutoTokenizer.from_pretrained(tmp_path)
    again = PromptBuilder(kept, ChatTemplate.of(kept))
    assert again.template == prompts.template
    assert again.image_token == prompts.image_token
    turn = prompts.question_turn("How much? 37 % <|im_end|>", ("none", "12"))
    assert again.prompt_ids([turn], 8) == prompts.prompt_ids([turn], 8)


@pytest.mark.parametrize(
    "entry",
    [
        {"attn_implementation": "some/kernel"},
        {"_attn_implementation": "kernels-community/flash-attn2@main:f"},
        {"text_config": {"experts_implementation": "some/kernel"}},
        {"attn_implementation": {"text_config": "some/kernel"}},
    ],
)
def test_kernels_that_a_configuration_names_are_not_fetched(
    tiny_llm_folder: Path, tmp_path: Path, entry: dict[str, object]
) -> None:
    folder = tmp_path / "llm"
    shutil.copytree(tiny_llm_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entry))
    with pytest.raises(CheckpointError, match=r"config\.json: names the kernels"):
        load_llm(str(folder))


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": "x"}, {"num_attention_heads": 0}, {"model_type": ["qwen3"]},
     {"quantization_config": 5}, {"dtype": "no type"}],
)  # fmt: skip
def test_an_odd_configuration_is_one_line(
    tiny_llm_folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "llm"
    shutil.copytree(tiny_llm_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(TcssaError, match="llm") as caught:
        load_llm(str(folder))
    assert len(str(caught.value)) <= 300
