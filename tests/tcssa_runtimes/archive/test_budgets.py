"""Slides as fewer slots: one model and one pair of graphs for every budget."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from exports import Exported
from factories import make_compressor, make_features, write_bag

from tcssa.budgets import choose_budget
from tcssa.compressor import save_compressor
from tcssa.errors import FeatureFileError, UsageError
from tcssa.reporter import Silent
from tcssa_cli.main import run as run_tcssa
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode
from tcssa_runtimes.archive.merge import merge_slides
from tcssa_runtimes.archive.slot_files import read_facts
from tcssa_runtimes.archive.slot_state import read_state


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nested") / "checkpoint.safetensors"
    model = make_compressor(num_slots=8, salience=True, nested=True)
    save_compressor(model, path, "test_encoder")
    return path


@pytest.fixture(scope="module")
def chunked(exported: Exported) -> Path:
    return exported(salience=True, nested=True, graph="chunked", chunk_patches=64)


def encoded(bags: Path, out: Path, model: Path, budget: object) -> Path:
    with open_runtime(model) as runtime:
        runtime.set_budget(budget)
        encode([bags], out, runtime, Silent())
    return out / "slide_features_tcssa" / "S.h5"


@pytest.mark.parametrize("kind", ["torch", "chunked"])
@pytest.mark.parametrize("budget", [4, 8])
def test_a_runtime_folds_as_the_compressor_does(
    nested: Path, chunked: Path, kind: str, budget: int
) -> None:
    features = make_features(150)
    expected = make_compressor(num_slots=8, salience=True, nested=True).compress([features], budget)
    with open_runtime(nested if kind == "torch" else chunked) as runtime:
        runtime.set_budget(budget)
        slide = runtime.encode(features.numpy(), np.zeros((150, 2)))
    np.testing.assert_allclose(slide.slots, expected.slots[0].detach(), atol=2e-5)
    np.testing.assert_allclose(slide.mass, expected.mass[0].detach(), rtol=1e-5)
    assert slide.centroids is not None
    assert len(slide.slots) == len(slide.mass) == len(slide.centroids) == budget


def test_a_file_of_few_slots_keeps_the_sums_of_all(tmp_path: Path, nested: Path) -> None:
    write_bag(tmp_path / "bags" / "S.h5", num_patches=90)
    few = encoded(tmp_path / "bags", tmp_path / "few", nested, 4)
    all_slots = encoded(tmp_path / "bags", tmp_path / "all", nested, None)
    with h5py.File(few) as file, h5py.File(all_slots) as whole:
        assert file["features"].shape == (4, 16)
        assert file["features"].attrs["budget"] == "4"
        assert file["mass"].shape == (4,)
        for name in ("mass", "means", "centroids", "spread"):
            np.testing.assert_array_equal(file["unfolded"][name], whole[name])
        assert "unfolded" not in whole
        assert "budget" not in whole["features"].attrs
    with h5py.File(few, "r+") as file:  # as slots made in one pass with the features
        file["failed_coords"] = np.array([[3, 4]])
        file["features"].attrs["n_failed"] = 1
    with open_runtime(nested) as runtime:  # no features needed
        runtime.set_budget(8)
        merge_slides([few], tmp_path / "again.h5", runtime)
    with h5py.File(tmp_path / "again.h5") as again:
        assert again["failed_coords"][:].tolist() == [[3, 4]]
        assert again["features"].attrs["n_failed"] == 1
    with h5py.File(tmp_path / "again.h5") as again, h5py.File(all_slots) as whole:
        for name in ("features", "mass", "means", "centroids", "spread"):
            np.testing.assert_allclose(again[name][:], whole[name][:], rtol=2e-5, atol=2e-5)
    assert read_state(tmp_path / "again.h5").facts.origin == read_state(all_slots).facts.origin


def test_files_of_any_budget_merge(tmp_path: Path, nested: Path) -> None:
    write_bag(tmp_path / "a" / "S.h5", num_patches=30, seed=1)
    write_bag(tmp_path / "b" / "S.h5", num_patches=50, seed=2)
    few = encoded(tmp_path / "a", tmp_path / "few", nested, 4)
    others = encoded(tmp_path / "b", tmp_path / "others", nested, None)
    with open_runtime(nested) as runtime:
        merged = merge_slides([few, others], tmp_path / "C.h5", runtime)
    assert merged.sums.num_slots == 8
    assert merged.facts.num_patches == 80
    expected = read_state(few).sums.mass + read_state(others).sums.mass
    np.testing.assert_allclose(merged.sums.mass, expected, rtol=1e-6)


def test_an_automatic_budget_is_each_slides_own(tmp_path: Path, nested: Path) -> None:
    share, sizes = make_compressor(num_slots=8, nested=True).config.auto_share, []
    for num_patches in (1, 90):
        write_bag(tmp_path / "bags" / "S.h5", num_patches=num_patches)
        found = encoded(tmp_path / "bags", tmp_path / "out", nested, "auto")
        state = read_state(found)
        budget = choose_budget(state.sums.weighted_sum, state.sums.mass, share)
        with h5py.File(found) as file:
            assert len(file["features"]) == budget
        assert state.facts.budget == "auto"
        sizes.append(budget)
    assert sizes == [4, 8]


def test_another_budget_makes_a_slide_again_and_the_same_one_does_not(
    tmp_path: Path, nested: Path
) -> None:
    write_bag(tmp_path / "bags" / "S.h5", num_patches=20)
    done = []
    for budget in (4, 4, 8, None):
        with open_runtime(nested) as runtime:
            runtime.set_budget(budget)
            report = encode([tmp_path / "bags"], tmp_path / "out", runtime, Silent())
        done.append((report.num_encoded, report.num_skipped))
    assert done == [(1, 0), (0, 1), (1, 0), (1, 0)]


def test_a_model_without_budgets_says_so(
    tmp_path: Path, checkpoint: Path, nested: Path, exported: Exported
) -> None:
    # one graph, which folds nothing
    whole = exported(salience=True, nested=True, spatial=True)
    for model, budget, reason in (
        (checkpoint, 3, "gives 6 slots a slide and no other number"),
        (whole, 4, "gives 8 slots a slide and no other number"),
        (nested, 5, "has budgets of 4, 8 slots, not 5"),
    ):
        with open_runtime(model) as runtime, pytest.raises(UsageError, match=reason):
            runtime.set_budget(budget)


def test_sums_that_do_not_fit_their_slots_are_refused(tmp_path: Path, nested: Path) -> None:
    write_bag(tmp_path / "bags" / "S.h5", num_patches=20)
    found = encoded(tmp_path / "bags", tmp_path / "out", nested, 4)
    with h5py.File(found, "r+") as file:
        means, mass = file["unfolded/means"][:7], file["unfolded/mass"][:7]
        del file["unfolded/means"], file["unfolded/mass"]
        file["unfolded/means"], file["unfolded/mass"] = means, mass
    assert read_facts(found) is not None
    with pytest.raises(FeatureFileError, match="means make no sense"):
        read_state(found)


def test_the_commands_take_a_budget(
    tmp_path: Path, nested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bag(tmp_path / "bags" / "S.h5", num_patches=20)

    def tcssa(*words: object) -> int:
        return run_tcssa([str(word) for word in (*words, "--model", nested, "--json")])

    out = tmp_path / "out"
    assert tcssa("encode", tmp_path / "bags", "--out", out, "--budget", "4") == 0
    capsys.readouterr()
    slots = out / "slide_features_tcssa" / "S.h5"
    assert tcssa("merge", slots, "--out", tmp_path / "all.h5", "--budget", "8") == 0
    assert json.loads(capsys.readouterr().out)["num_patches"] == 20
    with h5py.File(tmp_path / "all.h5") as file:
        assert len(file["features"]) == 8
    assert tcssa("encode", tmp_path / "bags", "--out", out, "--budget", "few") == 2
    assert "a budget is a number of slots or auto" in capsys.readouterr().err
