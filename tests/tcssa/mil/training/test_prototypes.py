"""A gate that begins as k-means of training patches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort
from factories import make_features
from pydantic import ValidationError

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor.prototypes import FIRST_WEIGHT, gate_of
from tcssa.config.recipes import RECIPES
from tcssa.config.settings import resolve
from tcssa.errors import CheckpointError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import build_classifier
from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.cohort.cohort import CohortSlide, read_cohort
from tcssa.mil.settings import MilSettings, ModelSettings
from tcssa.mil.tasks.classes import Classes
from tcssa.mil.training.fit import FoldFit, average
from tcssa.mil.training.prototypes import PROTOTYPES_FILE, begin_gate, read_prototypes


def heaps(num_each: int = 50, feature_dim: int = 16, num_heaps: int = 4) -> torch.Tensor:
    """Patches in heaps far from each other, one after another."""
    centres = 8 * torch.eye(num_heaps, feature_dim).repeat_interleave(num_each, dim=0)
    return centres + make_features(num_heaps * num_each, feature_dim)


def test_a_gate_of_prototypes_is_k_means() -> None:
    patches = heaps()
    prototypes = patches.view(4, 50, 16).mean(dim=1)
    weight, bias = gate_of(prototypes, patches)
    logits = patches @ weight.T + bias
    nearest = torch.cdist(patches, prototypes).argmin(dim=1)
    assert torch.equal(logits.argmax(dim=1), nearest)
    first = float(logits.softmax(dim=1).amax(dim=1).mean())
    assert first == pytest.approx(FIRST_WEIGHT, abs=1e-3)


class OneBag(BagStore):
    """A store of one bag that no file holds."""

    def __init__(self, bag: torch.Tensor) -> None:
        super().__init__(0)
        self.bag = bag

    def get(self, slide: CohortSlide) -> torch.Tensor:
        return self.bag


def classifier(num_slots: int = 4) -> SlideClassifier:
    torch.manual_seed(0)
    compressor = SlotCompressor(
        CompressorConfig(feature_dim=16, num_slots=num_slots, hidden_dim=8, salience=True)
    )
    return SlideClassifier(compressor, ClassifierConfig(classes=["a", "b"], head_dim=8)).eval()


def slide() -> CohortSlide:
    return CohortSlide("s", "s", 0, Path("s.h5"), 200)


def test_each_heap_gets_a_slot_of_its_own() -> None:
    model, bag = classifier(), heaps()
    found = begin_gate(model, [slide()], OneBag(bag), seed=0)
    means = bag.view(4, 50, 16).mean(dim=1)
    nearest = {int(torch.cdist(means[heap : heap + 1], bag).argmin()) for heap in range(4)}
    assert {each.patch for each in found} == nearest
    slots = model.compressor.router(bag).indices_NT[:, 0]
    assert [int(slots[each.patch]) for each in found] == [each.slot for each in found]
    first = model.compressor.router(bag).indices_NT[:, 0].view(4, 50)
    assert all(len(set(row)) == 1 for row in first.tolist())
    assert len(set(first[:, 0].tolist())) == 4


def test_too_few_different_patches_leave_the_gate_as_it_is() -> None:
    model = classifier()
    before = model.compressor.router.gate.weight.clone()
    assert not begin_gate(model, [slide()], OneBag(torch.ones(50, 16)), seed=0)
    assert torch.equal(model.compressor.router.gate.weight, before)


def test_the_average_of_weights_is_theirs_and_counters_are_the_last() -> None:
    states = [{"w": torch.tensor([float(i)]), "n": torch.tensor(i)} for i in (1, 2, 6)]
    found = average(states)
    assert found["w"].tolist() == [3.0]
    assert found["n"].item() == 6
    alone = average(states[:1])
    assert alone["w"] is not states[0]["w"]


def fit_of(folder: Path, **model: object) -> FoldFit:
    cohort = read_cohort(write_cohort(folder))
    settings = small_run(write_cohort(folder), epochs=2)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=model)})
    from tcssa.mil.cohort.splits import Fold

    fold = Fold(cohort.slides[:10], cohort.slides[10:14], cohort.slides[14:])
    return FoldFit(cohort, fold, 0, settings, folder, BagStore(10**9))


def test_a_fold_begins_at_prototypes_only_if_it_is_to(tmp_path: Path) -> None:
    for prototypes in (True, False):
        fit = fit_of(tmp_path, prototypes=prototypes)
        before = fit.model.compressor.router.gate.weight.clone()
        fit._begin()
        assert len(read_prototypes(tmp_path)) == 4 * prototypes
        (tmp_path / PROTOTYPES_FILE).unlink(missing_ok=True)
        assert torch.equal(fit.model.compressor.router.gate.weight, before) is not prototypes


def test_the_default_begins_as_the_mean_of_salient_patches() -> None:
    """Without experts, a pool by mass is the mean of all patches, weighted by their weights."""
    settings = ModelSettings()
    assert (settings.salience, settings.pool, settings.expert_gain) == (True, "mass", 0.0)
    model, bag = classifier(), make_features(30)
    torch.nn.init.zeros_(model.compressor.experts.norm_weight)
    output = model.compressor.compress([bag])
    share = output.weights[0].sum(dim=1) / output.weights[0].sum()
    pooled = (output.mass[0, :, None] * output.slots[0]).sum(dim=0) / output.mass[0].sum()
    np.testing.assert_allclose(pooled.detach(), (share @ bag).detach(), atol=1e-5)


def test_the_papers_recipe_is_that_of_runs_from_before_there_were_recipes() -> None:
    old = {"model": {"name": "tcssa", "num_slots": 8}, "train": {"lr": 1e-4}}
    settings = MilSettings.model_validate(MilSettings.completed(old))
    assert settings.recipe == "paper"
    for name, value in RECIPES["paper"]["model"].items():
        assert getattr(settings.model, name) == value
    assert settings.train.average == 1
    assert (settings.model.num_slots, settings.train.lr) == (8, 1e-4)
    assert settings.model.embed_dim == 0
    new = {"recipe": "salient"}
    assert MilSettings.completed(new) == {**new, "train": {"final": "none"}}
    parted = {"recipe": "salient", "train": {"num_parts": 2, "lr": 1e-4}}
    assert MilSettings.completed(parted) == {
        "recipe": "salient",
        "train": {"final": "none", "lr": 1e-4},
    }


def test_a_recipe_lies_under_what_is_given(tmp_path: Path) -> None:
    paper = MilSettings(recipe="paper")
    assert (paper.model.salience, paper.model.pool, paper.train.average) == (False, "mean", 1)
    mixed = MilSettings(recipe="paper", model=ModelSettings(pool="max"))
    assert (mixed.model.salience, mixed.model.pool) == (False, "max")
    assert MilSettings() == MilSettings(recipe="salient")


def test_resolved_settings_of_an_older_run_are_its_own_again(tmp_path: Path) -> None:
    old = tmp_path / "config.resolved.yaml"
    old.write_text("model: {pool: mean, hidden_dim: 512}\ntrain: {lr: 0.0001}\n")
    again = resolve(MilSettings, flags={}, config=old)
    assert (again.recipe, again.model.salience, again.train.average) == ("paper", False, 1)
    by_hand = old.rename(tmp_path / "mine.yaml")
    assert resolve(MilSettings, flags={}, config=by_hand).model.salience


@pytest.mark.parametrize("recipe", [{}, {"recipe": "salient"}])
def test_a_run_that_stated_no_embedding_has_none_again(recipe: dict[str, str]) -> None:
    old = MilSettings.completed({**recipe, "model": {"embed_dim": None, "num_slots": 8}})
    model = MilSettings.model_validate(old).model
    assert (model.embed_dim, model.num_slots) == (0, 8)
    stated = {"recipe": "raw", "model": {"embed_dim": 64}}
    assert MilSettings.completed(stated)["model"] == stated["model"]


def test_patches_are_embedded_where_it_is_asked_for() -> None:
    assert MilSettings().model.embed_dim == 0
    raw = MilSettings(recipe="raw").model
    assert (raw.embed_dim, raw.hidden_dim) == (128, 24)
    with pytest.raises(ValidationError):
        ModelSettings(embed_dim=-1)
    for width, lengths in ((0, (200, 200)), (128, (200, 128))):
        settings = ModelSettings(num_slots=4, hidden_dim=8, embed_dim=width)
        model = build_classifier(settings, 200, Classes(("a", "b")), None)
        assert isinstance(model, SlideClassifier)
        config = model.compressor.config
        assert (config.patch_dim, config.feature_dim) == lengths


def test_weights_of_another_pool_are_not_begun_from(tmp_path: Path) -> None:
    classifier().save(tmp_path / "c.safetensors")
    task = Classes(("a", "b"))
    settings = ModelSettings(init=tmp_path / "c.safetensors", num_slots=4, hidden_dim=8, head_dim=8)
    with pytest.raises(CheckpointError, match="pooled by mean, those of this model by mass"):
        build_classifier(settings, 16, task, None)
    build_classifier(settings.model_copy(update={"pool": "mean"}), 16, task, None)


@pytest.mark.parametrize(
    ("embeds", "embed_dim", "reason", "hint"),
    [
        (False, 12, "embeds patches not at all, this model to 12 numbers", "--embed-dim 0"),
        (True, 0, "embeds patches to 12 numbers, this model not at all", "--embed-dim 12"),
        (True, 8, "embeds patches to 12 numbers, this model to 8 numbers", "--embed-dim 12"),
    ],
)
def test_weights_of_another_embedding_are_not_begun_from(
    embeds: bool, embed_dim: int, reason: str, hint: str, tmp_path: Path
) -> None:
    task, shape = Classes(("a", "b")), {"num_slots": 4, "hidden_dim": 8, "head_dim": 8}
    before = ModelSettings(embed_dim=12 if embeds else 0, **shape)
    model = build_classifier(before, 16, task, None)
    assert isinstance(model, SlideClassifier)
    model.save(tmp_path / "c.safetensors")
    settings = before.model_copy(update={"init": tmp_path / "c.safetensors"})
    build_classifier(settings, 16, task, None)
    with pytest.raises(CheckpointError, match=reason) as caught:
        build_classifier(settings.model_copy(update={"embed_dim": embed_dim}), 16, task, None)
    assert hint in str(caught.value.hint)


def test_the_nearest_patch_is_found_where_features_are_far_from_zero() -> None:
    model, bag = classifier(num_slots=30), heaps() + 1000
    found = begin_gate(model, [slide()], OneBag(bag), seed=0)
    patches = bag.double()
    weight = model.compressor.router.gate.weight.double()
    bias = model.compressor.router.gate.bias.double()
    tau = -(weight**2).sum(dim=1) / (2 * bias)  # W = mu / tau, b = -|mu|^2 / 2 tau
    nearest = torch.cdist(weight / tau[:, None], patches).argmin(dim=1)
    agree = [each.patch == int(row) for each, row in zip(found, nearest, strict=True)]
    assert sum(agree) >= 28


@pytest.mark.parametrize(
    ("before", "after", "reason", "hint"),
    [
        (8, 0, "its head is of width 8, this model's linear", "--head-dim 8"),
        (0, 8, "its head is linear, this model's of width 8", "--head-dim 0"),
    ],
)
def test_weights_of_another_head_are_not_begun_from(
    before: int, after: int, reason: str, hint: str, tmp_path: Path
) -> None:
    task, shape = Classes(("a", "b")), {"num_slots": 4, "hidden_dim": 8}
    model = build_classifier(ModelSettings(head_dim=before, **shape), 16, task, None)
    assert isinstance(model, SlideClassifier)
    model.save(tmp_path / "c.safetensors")
    settings = ModelSettings(init=tmp_path / "c.safetensors", head_dim=before, **shape)
    build_classifier(settings, 16, task, None)
    with pytest.raises(CheckpointError, match=reason) as caught:
        build_classifier(settings.model_copy(update={"head_dim": after}), 16, task, None)
    assert hint in str(caught.value.hint)
