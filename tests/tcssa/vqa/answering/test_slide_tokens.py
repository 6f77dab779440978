"""Visual tokens of a benchmark's slides: what training kept is not made again."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch
from factories import make_compressor
from heard import Heard
from vqa_runs import load_tiny_vqa, slide_name, write_slidebench, write_slides

from tcssa.compressor import SlotCompressor
from tcssa.errors import UsageError
from tcssa.features import find_bags
from tcssa.reporter import Silent
from tcssa.vqa.answering.slide_tokens import SlideTokens
from tcssa.vqa.data.row_slides import RowSlides
from tcssa.vqa.evaluation.evaluate import evaluate
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.model.slot_cache import SlotCache, cache_of_run
from tcssa.vqa.model.visual_encoder import VisualConfig
from tcssa.vqa.model.visual_encoders import build_visual

SLIDES = [slide_name(number) for number in range(3)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedVqa:
    return load_tiny_vqa(tmp_path_factory.mktemp("vqa"))


@pytest.fixture
def folder(tmp_path: Path, loaded: LoadedVqa) -> Path:
    """A run, features of three slides, and no cache."""
    shutil.copytree(loaded.folder, tmp_path / "run")
    write_slides(tmp_path / "features", range(3))
    return tmp_path


def keep(
    folder: Path, loaded: LoadedVqa, place: Path | None = None, slides: slice = slice(None)
) -> Path:
    """Keep the tokens of slides as training does."""
    value = "null" if place is None else str(place)
    (folder / "run" / "config.resolved.yaml").write_text(f"visual:\n  slot_cache: {value}\n")
    cache = SlotCache(place or folder / "run" / "slots", loaded.model.visual)
    paths = [ref.address for ref in find_bags([folder / "features"])]
    cache.fill(paths[slides], Silent())
    return cache.folder


def tokens_of(folder: Path, loaded: LoadedVqa) -> SlideTokens:
    return SlideTokens(replace(loaded, folder=folder / "run"))


def slide_of(folder: Path, slide: str) -> RowSlides:
    return RowSlides(((folder / "features" / f"{slide}.h5",),))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_kept_tokens_are_taken_to_the_bit_and_no_compressor_runs(
    folder: Path, loaded: LoadedVqa, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tokens_of(folder, loaded)
    made = [before.of(slide_of(folder, slide))[0] for slide in SLIDES]
    keep(folder, loaded, folder / "elsewhere" if elsewhere else None)
    monkeypatch.setattr(SlotCompressor, "aggregate", None)  # would fail if it were called
    tokens = tokens_of(folder, loaded)
    assert all(
        torch.equal(tokens.of(slide_of(folder, slide))[0], each)
        for slide, each in zip(SLIDES, made, strict=True)
    )
    assert (tokens.cached, tokens.made) == (set(SLIDES), set())


def test_features_that_changed_since_are_compressed_and_the_cache_stays(
    folder: Path, loaded: LoadedVqa
) -> None:
    kept = keep(folder, loaded)
    before = {path: path.read_bytes() for path in kept.iterdir()}
    with h5py.File(folder / "features" / f"{SLIDES[0]}.h5", "r+") as file:
        file["features"][:] = file["features"][:] + 1
    (folder / "features" / f"{SLIDES[1]}.h5").touch()
    tokens = tokens_of(folder, loaded)
    for slide in SLIDES:
        tokens.of(slide_of(folder, slide))
    assert (tokens.cached, tokens.made) == (set(SLIDES[1:]), {SLIDES[0]})
    assert {path: path.read_bytes() for path in kept.iterdir()} == before


def test_a_cache_of_another_model_or_of_no_run_is_none(folder: Path, loaded: LoadedVqa) -> None:
    keep(folder, loaded)
    run = folder / "run"
    assert cache_of_run(run, loaded.model.visual) is not None
    other = build_visual(VisualConfig(), make_compressor(seed=1))
    assert cache_of_run(run, other) is None
    assert cache_of_run(folder, loaded.model.visual) is None
    for damaged in ("visual: {", "visual:\n  slot_cache: 5\n"):
        (run / "config.resolved.yaml").write_text(damaged)
        tokens = tokens_of(folder, loaded)
        assert tokens.of(slide_of(folder, SLIDES[0]))[0].shape == (6, 16)


def test_kept_tokens_do_not_let_another_encoder_s_features_pass(
    folder: Path, loaded: LoadedVqa
) -> None:
    with h5py.File(folder / "features" / f"{SLIDES[0]}.h5", "r+") as file:
        file["features"].attrs["encoder"] = "another"
    keep(folder, loaded)
    with pytest.raises(UsageError, match="these are of 'another'"):
        tokens_of(folder, loaded).of(slide_of(folder, SLIDES[0]))


def test_an_evaluation_says_in_one_line_whose_tokens_it_took(
    folder: Path, loaded: LoadedVqa
) -> None:
    write_slidebench(folder / "bench.csv", 3)
    reporter = Heard()

    def answers(name: str) -> str:
        evaluate(
            folder / "run", "slidebench-tcga", folder / "bench.csv", [folder / "features"],
            reporter, device="cpu", out=folder / name,
        )  # fmt: skip
        return (folder / name / "answers.jsonl").read_text()

    made = answers("made")
    assert reporter.notes == []
    kept = keep(folder, loaded, slides=slice(2))
    assert answers("kept") == made
    said = f"the tokens of 2 of 3 slides are those that training kept in {kept}"
    assert reporter.notes == [said]
