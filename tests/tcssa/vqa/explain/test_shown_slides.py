"""Several slides in one question: merged, or one behind the other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import make_compressor, write_bag
from vqa_runs import load_tiny_vqa, write_tiny_run

from tcssa.errors import FeatureFileError, UsageError
from tcssa.vqa.answering.slide_tokens import see_slide
from tcssa.vqa.explain.shown_slides import show_slides
from tcssa.vqa.explain.slide_session import SlideOracle
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.run import LoadedVqa, load_vqa
from tcssa.vqa.model.slot_cache import feature_tensor
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import SlotVisual, build_visual


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three slides of different sizes, one of more patches than are summed up at once."""
    folder = tmp_path_factory.mktemp("bags")
    return [write_bag(folder / f"S{n}.h5", size, seed=n) for n, size in enumerate((60, 3000, 7))]


def with_compressor(loaded: LoadedVqa, budget: int | None = None, **more: Any) -> LoadedVqa:
    """The same model with another compressor."""
    parts = loaded.model.projector, loaded.model.llm, loaded.model.image_token_id
    visual = build_visual(VisualConfig(budget=budget), make_compressor(**more))
    return replace(loaded, model=SlideLanguageModel(visual, *parts))


@pytest.mark.parametrize(
    ("more", "budget"),
    [({}, None), ({"salience": True}, None), ({"num_slots": 8, "nested": True}, 4)],
)
def test_merged_slides_are_the_slots_of_all_their_patches(
    more: dict[str, Any], budget: int | None, loaded: LoadedVqa, slides: list[Path]
) -> None:
    loaded = with_compressor(loaded, budget, **more)
    shown = show_slides(loaded, slides, "merge")
    visual = loaded.model.visual
    assert isinstance(visual, SlotVisual)
    patches = torch.cat([feature_tensor(path, 16) for path in slides])
    with torch.no_grad():
        together = visual.compressor.compress([patches], budget)
    torch.testing.assert_close(shown.visual, together.slots[0], atol=2e-6, rtol=0)
    assert shown.name == "S0 + S1 + S2"
    assert shown.places is not None
    assert shown.places.mass == pytest.approx(together.mass[0].tolist(), rel=1e-5)
    assert sum(shown.places.num_patches) == 3067
    assert set(shown.places.centers) == {None}


def test_slides_behind_each_other_are_the_tokens_of_each_in_order(
    loaded: LoadedVqa, slides: list[Path]
) -> None:
    shown = show_slides(loaded, slides[::-1], "concat")
    each = [see_slide(loaded, path).tokens for path in slides[::-1]]
    assert torch.equal(shown.visual, torch.cat(each))
    assert shown.slides == ["S2"] * 6 + ["S1"] * 6 + ["S0"] * 6
    alone = [show_slides(loaded, [path]).places for path in slides[::-1]]
    assert shown.places is not None
    for number, places in enumerate(alone):
        assert places is not None
        own = slice(6 * number, 6 * number + 6)
        assert shown.places.mass[own] == places.mass
        assert shown.places.num_patches[own] == places.num_patches
        assert shown.places.centers[own] == places.centers


def test_the_model_answers_about_all_tokens(loaded: LoadedVqa, slides: list[Path]) -> None:
    oracle = SlideOracle(loaded, slides[:2], several="concat")
    answer = oracle.ask("What is it?", ["lung", "skin"])
    assert (answer.slide, answer.several) == ("S0 + S1", "concat")
    assert sorted((slot.slot, slot.slide) for slot in answer.slots) == [
        *((number, "S0") for number in range(6)),
        *((number, "S1") for number in range(6, 12)),
    ]
    prompt = oracle.asker.prepare("What is it?", (), 12).prompt(oracle.visual)
    assert list(prompt.ids).count(loaded.model.image_token_id) == 12
    other = SlideOracle(loaded, slides[1::-1], several="concat").ask(
        "What is it?", ["lung", "skin"]
    )
    assert other.probabilities != answer.probabilities


def test_one_slide_is_the_same_whatever_several_become(
    loaded: LoadedVqa, slides: list[Path]
) -> None:
    alone = show_slides(loaded, slides[:1])
    assert torch.equal(show_slides(loaded, slides[:1], "merge").visual, alone.visual)
    assert torch.equal(show_slides(loaded, slides[:1], "concat").visual, alone.visual)
    assert alone.several is None


@pytest.mark.parametrize("kind", ["mean", "sample"])
def test_tokens_that_are_no_sums_are_put_behind_each_other_only(
    kind: str, slides: list[Path], tmp_path: Path
) -> None:
    loaded = load_vqa(write_tiny_run(tmp_path, kind=kind), device="cpu")
    with pytest.raises(UsageError, match=f"adds up slots, and .* with --visual {kind}") as caught:
        show_slides(loaded, slides, "merge")
    assert "--several concat" in (caught.value.hint or "")
    shown = show_slides(loaded, slides, "concat")
    assert torch.equal(shown.visual, torch.cat([see_slide(loaded, path).tokens for path in slides]))
    assert len(shown.slides) == len(shown.visual)
    assert shown.places is None


def test_slides_that_do_not_come_together_are_refused(
    loaded: LoadedVqa, slides: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="3 slides are given") as caught:
        show_slides(loaded, slides)
    for way in ("--several merge", "--several concat"):
        assert way in (caught.value.hint or "")
    with pytest.raises(UsageError, match="two files are of the slide S0"):
        show_slides(loaded, [*slides, write_bag(tmp_path / "S0.h5")], "concat")
    with pytest.raises(UsageError, match="reads where patches lie"):
        show_slides(with_compressor(loaded, spatial=True), slides, "merge")
    other = write_bag(tmp_path / "other.h5", encoder="another")
    with pytest.raises(UsageError, match=r"features of 'test_encoder', and .* of 'another'"):
        show_slides(loaded, [slides[0], other], "merge")
    with pytest.raises(FeatureFileError, match=r"empty\.h5.* holds no patch"):
        show_slides(loaded, [slides[0], write_bag(tmp_path / "empty.h5", 0)], "concat")
