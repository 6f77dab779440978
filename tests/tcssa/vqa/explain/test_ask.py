"""One question about one slide, and the slots that its answer rests on."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch
from factories import make_compressor, write_bag
from PIL import Image
from vqa_runs import load_tiny_vqa, write_tiny_run

from tcssa.compressor import SlotCompressor
from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    RunError,
    UnknownNameError,
    UsageError,
)
from tcssa.features import open_bag
from tcssa.reporter import Silent
from tcssa.slides.image.small_picture import grid_picture
from tcssa.vqa.answering.controls import without
from tcssa.vqa.answering.prefill import Prompt
from tcssa.vqa.explain.ask import answer_question
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.explain.attribution import ablation_effects, log_likelihoods
from tcssa.vqa.explain.slide_extraction import extract_slide
from tcssa.vqa.explain.slide_session import SlideOracle
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.model.slot_cache import feature_tensor
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual

OPTIONS = ["lung", "breast", "skin"]
ON_CPU = AskSettings(device="cpu")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "S1.h5", 60, seed=4)


@pytest.fixture(scope="module")
def oracle(loaded: LoadedVqa, bag: Path) -> SlideOracle:
    return SlideOracle(loaded, bag, max_new_tokens=4)


@torch.no_grad()
def weighed_alone(loaded: LoadedVqa, prompt: Prompt, answer: list[int]) -> float:
    """The log-likelihood of an answer, in one forward pass without a cache."""
    ids = torch.tensor([[*prompt.ids, *answer]])
    embeds = loaded.model.embed(ids, [prompt.visual])
    logits = loaded.model.llm(inputs_embeds=embeds, use_cache=False).logits[0].double()
    rows = logits[len(prompt.ids) - 1 : -1].log_softmax(-1)
    return float(rows[range(len(answer)), answer].sum())


def test_effects_are_what_blanking_each_slot_alone_costs(
    loaded: LoadedVqa, oracle: SlideOracle
) -> None:
    prompt = oracle.asker.prepare("What is it?", (), 6).prompt(oracle.visual)
    answer = [100, 200, 300]
    effects = ablation_effects(loaded.model, prompt, answer, batch_size=4)
    whole = weighed_alone(loaded, prompt, answer)
    wanted = [
        whole - weighed_alone(loaded, replace(prompt, visual=without(prompt.visual, slot)), answer)
        for slot in range(len(prompt.visual))
    ]
    assert effects.tolist() == pytest.approx(wanted, abs=1e-4)
    assert max(abs(effect) for effect in wanted) > 1e-3


def test_letters_are_weighed_among_the_letters(loaded: LoadedVqa, oracle: SlideOracle) -> None:
    prompt = oracle.asker.prepare("What is it?", OPTIONS, 6).prompt(oracle.visual)
    letters = oracle.likelihood.letters[:3]
    each = [float(log_likelihoods(loaded.model, [prompt], [letter], letters)) for letter in letters]
    assert sum(math.exp(value) for value in each) == pytest.approx(1)


def test_an_answer_with_options(oracle: SlideOracle) -> None:
    answer = oracle.ask("What is it?", OPTIONS)
    assert answer.probabilities is not None
    assert answer.predicted is not None
    assert sum(answer.probabilities) == pytest.approx(1)
    assert answer.probabilities[answer.predicted] == max(answer.probabilities)
    assert answer.text == f"{'ABC'[answer.predicted]}. {OPTIONS[answer.predicted]}"
    assert answer.log_likelihood == pytest.approx(math.log(max(answer.probabilities)))
    sizes = [abs(slot.effect) for slot in answer.slots]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(slot.slot for slot in answer.slots) == list(range(6))


@pytest.mark.parametrize("spatial", [False, True])
def test_a_slide_is_routed_once_and_its_slots_are_where_a_second_routing_finds_them(
    spatial: bool, loaded: LoadedVqa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressor = make_compressor(spatial=spatial)
    parts = loaded.model.projector, loaded.model.llm, loaded.model.image_token_id
    model = SlideLanguageModel(build_visual(VisualConfig(), compressor), *parts)
    loaded = replace(loaded, model=model)
    path = write_bag(tmp_path / "S1.h5", 40, seed=4)
    with h5py.File(path, "r+") as file:
        file["coords"].attrs["mpp_level0"] = 0.5
    calls = []
    aggregate = SlotCompressor.aggregate
    monkeypatch.setattr(
        SlotCompressor, "aggregate", lambda *given: calls.append(given) or aggregate(*given)
    )
    oracle = SlideOracle(loaded, path)
    assert len(calls) == 1
    features, coords = feature_tensor(path, 16), torch.from_numpy(oracle.coords)
    places = [coords * 0.5] if spatial else None
    with torch.no_grad():
        again = compressor.compress([features], coords=places)
    assert torch.equal(oracle.visual, again.slots[0])
    state = compressor.update(compressor.start(), features, coords)
    assert oracle.places is not None
    assert oracle.places.mass == state.mass.tolist()
    assert state.footprint is not None
    centers = (state.footprint.centroids() + 112).tolist()
    assert oracle.places.centers == [
        tuple(center) if mass > 0 else None
        for center, mass in zip(centers, state.mass.tolist(), strict=True)
    ]


def test_slots_know_their_place(oracle: SlideOracle) -> None:
    slots = oracle.ask("What is it?", OPTIONS).slots
    assert sum(slot.num_patches or 0 for slot in slots) == 60
    for slot in slots:
        assert slot.center is not None
        assert 112 <= slot.center[0] <= 7 * 224  # 60 patches stand in rows of 7
        assert (slot.mass or 0) > 0


def test_an_answer_in_words(oracle: SlideOracle) -> None:
    answer = oracle.ask("What is it?")
    assert answer.text
    assert answer.probabilities is None
    assert (answer.log_likelihood or 0) < 0
    assert len(answer.slots) == 6
    assert oracle.ask("What is it?", explain=False).slots == []


@pytest.mark.parametrize(
    ("question", "options", "message"),
    [
        ("  ", [], "the question is empty"),
        ("What?", ["one"], "options can be given, not 1"),
        ("What?", ["x"] * 27, "options can be given, not 27"),
        ("What?", ["a", " "], "an option is empty"),
        ("What? " * 40000, [], "the model reads"),
    ],
)
def test_questions_without_sense_are_refused(
    oracle: SlideOracle, question: str, options: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        oracle.ask(question, options)


def test_features_that_do_not_fit_are_refused(loaded: LoadedVqa, tmp_path: Path) -> None:
    with pytest.raises(FeatureDimError, match="D = 8, expected D = 16"):
        SlideOracle(loaded, write_bag(tmp_path / "a.h5", feature_dim=8))
    with pytest.raises(UsageError, match="these are of 'another'"):
        SlideOracle(loaded, write_bag(tmp_path / "b.h5", encoder="another"))
    with pytest.raises(FeatureFileError, match="holds no patch"):
        SlideOracle(loaded, write_bag(tmp_path / "c.h5", 0))
    with pytest.raises(FeatureFileError, match="there is no such file"):
        SlideOracle(loaded, tmp_path / "d.h5")


def test_answer_and_picture_are_written(loaded: LoadedVqa, bag: Path, tmp_path: Path) -> None:
    answer, picture = answer_question(
        loaded.folder, "What is it?", OPTIONS, Silent(), ON_CPU, features=bag, out=tmp_path
    )
    stored = json.loads((tmp_path / "answer.json").read_text())
    assert stored["text"] == answer.text
    assert len(stored["slots"]) == 6
    assert picture == tmp_path / "slots.png"
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 5


def test_the_grid_of_patches_stands_for_a_slide_that_is_not_there(bag: Path) -> None:
    with open_bag(bag) as opened:
        coords = opened.read_coords()
    assert coords is not None
    picture = grid_picture(coords, 224)
    grey = (picture.pixels == 214).all(axis=2).mean()
    assert grey == pytest.approx(60 / 63, abs=0.02)  # nine rows of seven, the last of four


@pytest.mark.parametrize(
    ("encoder", "message"),
    [(None, "does not say which encoder"), ("my_encoder", "tcssa cannot load")],
)
def test_a_slide_of_an_unknown_encoder_is_refused(
    encoder: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        extract_slide(tmp_path / "S.svs", encoder, tmp_path, Silent())


def test_an_encoder_of_own_code_that_a_run_names_must_be_named_by_the_user(tmp_path: Path) -> None:
    run = write_tiny_run(tmp_path, encoder="python:antigravity:fly")
    asked = (run, "What is it?", [], Silent())
    slide = tmp_path / "S.svs"
    with pytest.raises(RunError, match=r"vqa\.json: names 'python:antigravity:fly'") as caught:
        answer_question(*asked, ON_CPU, slide=slide)
    assert caught.value.hint is not None
    assert "--encoder python:antigravity:fly" in caught.value.hint
    named = AskSettings(encoder="python:other:fly", device="cpu")
    with pytest.raises(RunError, match="names 'python:antigravity:fly'"):
        answer_question(*asked, named, slide=slide)
    assert "antigravity" not in sys.modules


def test_a_question_may_be_worded_as_in_an_evaluation(bag: Path, tmp_path: Path) -> None:
    run = write_tiny_run(tmp_path)
    answers = {}
    for prompt in ("own", "tc-ssa"):
        settings = AskSettings(prompt=prompt, device="cpu", explain=False)
        answers[prompt], _ = answer_question(
            run, "What?", OPTIONS, Silent(), settings, features=bag, out=tmp_path / prompt
        )
    assert answers["own"].probabilities != answers["tc-ssa"].probabilities
    told = json.loads((tmp_path / "tc-ssa" / "answer.json").read_text())
    assert "Answer with only the letter" in told["wording"]["question"]
    assert "wording" not in json.loads((tmp_path / "own" / "answer.json").read_text())
    with pytest.raises(UnknownNameError, match="tc-sa"):
        answer_question(run, "What?", OPTIONS, Silent(), AskSettings(prompt="tc-sa"), features=bag)
