"""A merged model on a server of vLLM's protocol answers as torch does here, within 1e-5.

The server is `vllm_server`: it wraps the merged folder in transformers.
"""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from factories import write_bag
from vllm_server import NAME, VllmServer, serving
from vqa_models import wake_lora
from vqa_runs import load_tiny_vqa, write_slidebench, write_slides

from tcssa.errors import EndpointError, RunError, UsageError
from tcssa.reporter import Silent
from tcssa.vqa.endpoint.asked_model import load_asked
from tcssa.vqa.endpoint.endpoint_settings import EndpointOptions
from tcssa.vqa.evaluation.evaluate import evaluate
from tcssa.vqa.explain.ask import answer_question
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.explain.chat import chat
from tcssa.vqa.explain.chat_settings import ChatSettings
from tcssa.vqa.explain.slide_session import Answer
from tcssa.vqa.model.embeddings_only import EmbeddingsOnly
from tcssa.vqa.model.lora import add_lora
from tcssa.vqa.model.merge import merge_vqa
from tcssa.vqa.model.run import save_vqa
from tcssa.vqa.settings import EvalOptions, LanguageModelOptions, LoraSettings

CLOSE = 1e-5
"""Nats; the server reads each prompt whole, torch a slide's prompts from their common beginning."""
SHORT = {"device": "cpu", "max_new_tokens": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of stage 2, merged, and a slide."""
    folder = tmp_path_factory.mktemp("served")
    loaded = load_tiny_vqa(folder)
    model = loaded.model
    model.llm = add_lora(model.llm, LoraSettings(rank=2, targets="q_proj,v_proj"))
    wake_lora(model.llm)
    save_vqa(folder / "two", model, loaded.prompts, loaded.llm, stage=2, encoder="test_encoder")
    merge_vqa(folder / "two", folder / "merged")
    write_bag(folder / "S1.h5", 60, seed=4)
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[VllmServer]:
    with serving(folder / "merged") as server:
        yield server


@pytest.fixture
def server(running: VllmServer) -> VllmServer:
    """The server, as it starts."""
    running.enabled, running.deaf, running.processed, running.delay_s = True, False, False, 0.0
    running.names = [NAME]
    running.bodies.clear()
    return running


def ask(folder: Path, endpoint: str | None, *options: str, **more: object) -> Answer:
    settings = AskSettings.model_validate({**SHORT, "endpoint": endpoint, **more})
    answer, _ = answer_question(
        folder / "merged", "What is it?", options, Silent(), settings, features=folder / "S1.h5"
    )
    return answer


def test_options_are_as_likely_as_here_and_rest_on_the_same_slots(
    folder: Path, server: VllmServer
) -> None:
    here = ask(folder, None, "yes", "no", "maybe")
    there = ask(folder, server.address, "yes", "no", "maybe")
    assert here.probabilities is not None
    assert there.predicted == here.predicted
    assert there.probabilities == pytest.approx(here.probabilities, abs=CLOSE)
    assert there.option_mass == pytest.approx(here.option_mass, rel=CLOSE)
    effects = [{slot.slot: slot.effect for slot in answer.slots} for answer in (here, there)]
    assert effects[1] == pytest.approx(effects[0], abs=CLOSE)


def test_letters_that_are_not_among_the_likeliest_are_asked_for_one_by_one(
    folder: Path, server: VllmServer
) -> None:
    ask(folder, server.address, "yes", "no", "maybe", explain=False)
    forced = [body["allowed_token_ids"] for body in server.bodies if "allowed_token_ids" in body]
    assert forced[1:]  # 384 tokens, 20 of them told
    assert all(len(tokens) == 1 for tokens in forced)


def test_a_written_answer_is_the_same_with_its_likelihood(folder: Path, server: VllmServer) -> None:
    here, there = (ask(folder, place) for place in (None, server.address))
    assert there.text == here.text
    assert there.log_likelihood == pytest.approx(here.log_likelihood, abs=CLOSE)
    assert [slot.slot for slot in there.slots] == [slot.slot for slot in here.slots]


@pytest.mark.parametrize("method", ["likelihood", "text", "generate"])
def test_a_benchmark_is_answered_as_here(
    folder: Path, server: VllmServer, tmp_path: Path, method: str
) -> None:
    slides = write_slides(tmp_path / "features", range(2))
    questions = write_slidebench(tmp_path / "q.csv", 2, 2)
    options = EvalOptions.model_validate({"method": method, "max_new_tokens": 3})
    found = []
    for name, endpoint in {"here": None, "there": EndpointOptions(endpoint=server.address)}.items():
        report = evaluate(
            folder / "merged", "slidebench-tcga", questions, [slides], Silent(), options,
            device="cpu", endpoint=endpoint, out=tmp_path / name,
        )  # fmt: skip
        found.append(report.metrics)
    here, there = found
    assert there["scores"] == here["scores"]
    assert there["controls"] == here["controls"]
    assert there["system"] == {**here["system"], "endpoint": NAME}
    # answers of another place are no answers of this one
    with pytest.raises(RunError, match="endpoint"):
        evaluate(
            folder / "merged", "slidebench-tcga", questions, [slides], Silent(), options,
            device="cpu", out=tmp_path / "there",
        )  # fmt: skip


def test_a_conversation_is_streamed_and_drawn_by_the_server(
    folder: Path, server: VllmServer
) -> None:
    def talk(**more: object) -> tuple[list[Answer], str]:
        pieces: list[str] = []
        settings = ChatSettings.model_validate({**SHORT, "explain": False, **more})
        answers = chat(
            folder / "merged", folder / "S1.h5", ["What?", "Why?"], Silent(), settings,
            write=pieces.append, told=lambda _: None,
        )  # fmt: skip
        return answers, "".join(pieces)

    here, _ = talk()
    there, streamed = talk(endpoint=server.address)
    assert [answer.text for answer in there] == [answer.text for answer in here]
    assert streamed == "".join(answer.text for answer in there)
    drawn, _ = talk(endpoint=server.address, temperature=3.0, top_p=0.9, seed=7)
    assert [answer.text for answer in drawn] != [answer.text for answer in here]
    sent = [body for body in server.bodies if body.get("stream")][-1]
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (3.0, 0.9, 7)


def test_no_language_model_is_loaded_here(folder: Path, server: VllmServer) -> None:
    options = EndpointOptions(endpoint=f"{server.address}/v1/")
    loaded, served = load_asked(folder / "merged", LanguageModelOptions(), options, "cpu")
    assert served is not None
    assert isinstance(loaded.model.llm, EmbeddingsOnly)
    assert torch.equal(
        loaded.model.llm.get_input_embeddings().weight,
        server.model.get_input_embeddings().weight,
    )
    assert served.context == 4096


def refused(folder: Path, endpoint: str, **more: object) -> str:
    with pytest.raises(EndpointError) as caught:
        ask(folder, endpoint, "yes", "no", **more)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_a_server_that_cannot_answer_is_one_line(folder: Path, server: VllmServer) -> None:
    server.enabled = False
    assert "takes no embedded prompts of merged: You must set" in refused(folder, server.address)
    server.enabled, server.deaf = True, True
    assert "was sent 3 tokens and counts 1" in refused(folder, server.address)
    server.deaf, server.processed = False, True
    assert "after restrictions" in refused(folder, server.address)
    server.processed, server.delay_s = False, 1.0
    assert "within 0.2 s" in refused(folder, server.address, endpoint_timeout=0.2)


def test_a_model_that_is_not_served_is_named_with_those_that_are(
    folder: Path, server: VllmServer
) -> None:
    said = refused(folder, server.address, endpoint_model="other")
    assert said.endswith("has no model 'other'; it has merged")
    server.names = ["one", NAME]
    assert refused(folder, server.address).endswith("has 2 models: one, merged")
    assert ask(folder, server.address, "yes", "no", endpoint_model=NAME).predicted is not None


def test_no_server_is_one_line(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert "no server answers at" in refused(folder, address)
    with pytest.raises(UsageError, match="is no address of a server"):
        ask(folder, "file:///etc/passwd", "yes", "no")


def test_only_a_merged_folder_can_be_served(folder: Path, server: VllmServer) -> None:
    options = EndpointOptions(endpoint=server.address)
    with pytest.raises(RunError, match="is not merged") as caught:
        load_asked(folder / "two", LanguageModelOptions(), options, "cpu")
    assert "tcssa merge" in str(caught.value.hint)
    with pytest.raises(UsageError, match="two language models"):
        load_asked(folder / "merged", LanguageModelOptions(llm="x"), options, "cpu")
    with pytest.raises(UsageError, match="downloads nothing"):
        load_asked(folder / "merged", LanguageModelOptions(allow_hub=True), options, "cpu")


def test_what_a_server_says_against_a_request_is_passed_on(
    folder: Path, server: VllmServer
) -> None:
    server.names = ["merged-elsewhere"]
    models, server.models = server.models, lambda: {"data": [{"id": NAME}]}  # type: ignore[method-assign]
    try:
        said = refused(folder, server.address)
    finally:
        server.models = models  # type: ignore[method-assign]
    assert said.endswith("refuses the request (404): The model `merged` does not exist.")


def test_an_answer_in_another_protocol_is_one_line(folder: Path, server: VllmServer) -> None:

    models, server.models = server.models, lambda: {"data": [{"id": 3}]}  # type: ignore[method-assign]
    try:
        assert "answers otherwise than vLLM does" in refused(folder, server.address)
    finally:
        server.models = models  # type: ignore[method-assign]
