"""What a training refuses, leaves out, keeps and goes on from."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from factories import make_compressor
from safetensors.torch import load_file
from vqa_models import tiny_qwen3
from vqa_runs import slide_name, write_slides
from vqa_training import row, tiny, write_material

from tcssa.compressor import load_compressor, save_compressor
from tcssa.errors import DroppedRowsError, RunError, UsageError
from tcssa.features import find_bags, read_features
from tcssa.files.table import read_table
from tcssa.reporter import Silent
from tcssa.vqa.answering.slide_tokens import see_slide
from tcssa.vqa.model.model_setup import load_parts
from tcssa.vqa.model.run import load_vqa
from tcssa.vqa.model.slot_cache import feature_tensor
from tcssa.vqa.settings import LoraSettings, inherited
from tcssa.vqa.training.train import read_metrics, train


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("train"), tiny_llm_folder)


@pytest.fixture(scope="module")
def stage_1(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage-1") / "run"
    train(tiny(material, train={"epochs": 3}), out, Silent())
    return out


def test_stage_1_moves_the_projector_alone_and_learns(material: Path, stage_1: Path) -> None:
    metrics = read_metrics(stage_1)
    assert set(metrics["trained"]) == {"projector"}
    assert metrics["rows"]["train"] + metrics["rows"]["val"] == 10
    lines = list(read_table(stage_1 / "history.csv").rows.values())
    assert float(lines[-1]["train_loss"]) < float(lines[0]["train_loss"])
    assert metrics["val_loss"] == min(float(line["val_loss"]) for line in lines if line["val_loss"])
    kept = load_file(stage_1 / "compressor.safetensors")
    given = load_file(material / "compressor.safetensors")
    assert all(kept[name].equal(given[name]) for name in given)
    assert (stage_1 / "plots" / "loss.png").stat().st_size > 5000
    assert not list(stage_1.glob("best-*")) + list(stage_1.glob("progress*"))


def test_stage_2_starts_from_stage_1_and_moves_lora_alone(
    material: Path, stage_1: Path, tmp_path: Path
) -> None:
    given = {"train": {"from_run": stage_1}}
    assert inherited(given)["visual"]["compressor"] == str(material / "compressor.safetensors")
    metrics = train(
        tiny(material, train={"stage": 2, "from_run": stage_1}), tmp_path / "run", Silent()
    )
    assert set(metrics["trained"]) == {"llm"}
    before = load_vqa(stage_1, device="cpu").model
    after = load_vqa(tmp_path / "run", device="cpu").model
    for name, value in before.projector.state_dict().items():
        assert value.equal(after.projector.state_dict()[name])
    moved = [v.abs().sum() for n, v in after.llm.named_parameters() if "lora_B" in n]
    assert all(moved)


def test_stage_2_may_not_contradict_stage_1(material: Path, stage_1: Path, tmp_path: Path) -> None:
    options = {"stage": 2, "from_run": stage_1}
    other = tiny(material, visual={"projector_dim": 12}, train=options)
    with pytest.raises(UsageError, match=r"visual\.projector_dim was 8, now 12"):
        train(other, tmp_path / "run", Silent())


def test_stage_2_without_a_beginning_is_refused(material: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stage 2 starts from a run of stage 1"):
        train(tiny(material, train={"stage": 2}), tmp_path / "run", Silent())


def test_a_compressor_that_trains_moves_and_uses_no_cache(material: Path, tmp_path: Path) -> None:
    options = {"train_compressor": True, "compressor_lr": 0.01}
    metrics = train(tiny(material, train=options), tmp_path / "run", Silent())
    assert set(metrics["trained"]) == {"projector", "visual"}
    assert not (tmp_path / "run" / "slots").exists()
    kept = load_file(tmp_path / "run" / "compressor.safetensors")
    given = load_file(material / "compressor.safetensors")
    assert any(not kept[name].equal(given[name]) for name in given)
    lines = list(read_table(tmp_path / "run" / "history.csv").rows.values())
    assert 1.5 < float(lines[-1]["aux_loss"]) < 4


def test_a_fresh_compressor_begins_at_prototypes_of_the_slides(
    material: Path, tmp_path: Path
) -> None:
    """So it does in every process and every call: a run that is taken up begins alike."""
    options = {"train_compressor": True, "compressor_lr": 1e-9}
    settings = tiny(material, visual={"compressor": None, "num_tokens": 4}, train=options)
    train(settings, tmp_path / "run", Silent())
    model = load_compressor(tmp_path / "run" / "compressor.safetensors")
    assert (model.config.num_slots, model.config.salience) == (4, True)
    patches = np.concatenate([read_features(p) for p in find_bags([material / "features"])])
    with torch.no_grad():
        first = model.router(torch.from_numpy(patches)).weights_NT[:, 0]
    assert float(first.mean()) == pytest.approx(0.6, abs=0.05)  # of all patches, or nearly so
    output = model.compress([torch.from_numpy(patches)])
    state = model.aggregate([torch.from_numpy(patches)])[0].state
    assert torch.allclose(output.slots[0], state.centers(), atol=1e-6)
    begun = load_parts(settings, torch.device("cpu")).model.visual.compressor
    assert torch.allclose(begun.router.gate.weight, model.router.gate.weight, atol=1e-6)


def test_rows_that_cannot_be_used_are_counted_and_listed(material: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(9)]
    rows += [row(55), row(9, question="why " * 300), row(9, answer="")]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    corpus = {"data": tmp_path / "rows.json", "max_length": 120, "max_dropped": 0.3}
    reporter = Silent()
    metrics = train(tiny(material, corpus=corpus), tmp_path / "run", reporter)
    assert metrics["rows"]["train"] + metrics["rows"]["val"] == 9
    assert sum(metrics["dropped"].values()) == 3
    listed = list(read_table(tmp_path / "run" / "skipped.csv").rows.values())
    assert len(listed) == 3
    reasons = {line["reason"]: line for line in listed}
    assert "0055" in reasons["no features"]["detail"]
    assert "--max-length is 120" in reasons["too long"]["detail"]
    assert "row 11" in reasons["too long"]["source"]
    assert any(text.startswith("3 rows left out: ") for text in reporter.warnings)


def test_too_many_unusable_rows_are_an_error_that_lists_them(
    material: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([row(0), row(1), row(2), row(77), row(78)]))
    with pytest.raises(DroppedRowsError, match="2 of 5 rows cannot be used") as caught:
        train(tiny(material, corpus={"data": tmp_path / "rows.json"}), tmp_path / "run", Silent())
    assert "no features" in str(caught.value)
    assert len((tmp_path / "run" / "skipped.csv").read_text().splitlines()) == 3


def test_a_second_call_does_nothing_and_other_settings_are_refused(
    material: Path, stage_1: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in stage_1.rglob("*") if path.is_file()}
    assert train(tiny(material, train={"epochs": 3}), stage_1, Silent()) == read_metrics(stage_1)
    after = {path: path.stat().st_mtime_ns for path in stage_1.rglob("*") if path.is_file()}
    assert after == before
    with pytest.raises(RunError, match=r"train\.lr was 0\.01, now 0\.5"):
        train(tiny(material, train={"epochs": 3, "lr": 0.5}), stage_1, Silent())
    (tmp_path / "other.json").write_text(json.dumps([row(number) for number in range(9)]))
    other = tiny(material, corpus={"data": tmp_path / "other.json"}, train={"epochs": 3})
    with pytest.raises(RunError, match="data_sha256 was"):
        train(other, stage_1, Silent())


def test_a_finished_run_compares_all_that_it_was_made_from(
    material: Path, stage_1: Path, tmp_path: Path
) -> None:
    """Other files under the same path are other files."""
    folder = tmp_path / "material"
    folder.mkdir()
    for name in ("data.json", "compressor.safetensors", "features", "llm"):
        (folder / name).symlink_to((material / name).resolve())
    settings = tiny(folder, train={"epochs": 3})
    kept = set(stage_1.rglob("*"))

    def refused(name: str, write: Callable[[Path], object], reason: str) -> None:
        (folder / name).unlink()
        write(folder / name)
        with pytest.raises(RunError, match=reason):
            train(settings, stage_1, Silent())
        (folder / name).rename(tmp_path / f"other-{name}")
        (folder / name).symlink_to((material / name).resolve())

    other = make_compressor(seed=9)
    refused("compressor.safetensors", partial(save_compressor, other), "compressor_sha256 was")
    refused("llm", partial(tiny_qwen3, seed=9), "llm_sha256 was")
    refused("features", lambda path: write_slides(path, range(10)), "features_hash was")
    assert set(stage_1.rglob("*")) == kept
    assert train(settings, stage_1, Silent()) == read_metrics(stage_1)


def test_options_of_lora_that_the_run_has_already_are_refused(
    material: Path, stage_1: Path, tmp_path: Path
) -> None:
    train(tiny(material, train={"stage": 2, "from_run": stage_1}), tmp_path / "two", Silent())
    more = tiny(material, train={"stage": 2, "from_run": tmp_path / "two"})
    assert inherited({"train": {"from_run": tmp_path / "two"}})["lora"]["rank"] == 2
    other = more.model_copy(update={"lora": LoraSettings(rank=4, targets="q_proj,v_proj")})
    with pytest.raises(UsageError, match=r"says otherwise: lora\.rank was 2, now 4"):
        train(other, tmp_path / "three", Silent())
    assert not (tmp_path / "three").exists()
    one = tiny(material, train={"from_run": stage_1}).model_copy(update={"lora": other.lora})
    with pytest.raises(UsageError, match=r"lora\.rank was 16, now 4"):
        train(one, tmp_path / "three", Silent())


def test_the_precision_is_inherited_and_another_is_said(
    material: Path, stage_1: Path, tmp_path: Path
) -> None:
    assert inherited({"train": {"from_run": stage_1}})["train"] == {"precision": "fp32"}
    options = {"stage": 2, "from_run": stage_1, "precision": "bf16"}
    reporter = Silent()
    train(tiny(material, train=options), tmp_path / "run", reporter)
    assert f"the language model is bf16, {stage_1} was trained in fp32" in reporter.warnings
    assert load_vqa(tmp_path / "run", device="cpu").describe()["llm_dtype"] == "bfloat16"


@pytest.mark.parametrize("cached", [True, False])
def test_damaged_features_are_rows_that_cannot_be_used(
    material: Path, tmp_path: Path, cached: bool
) -> None:
    features = shutil.copytree(material / "features", tmp_path / "features")
    damaged, unfinished = (features / f"{slide_name(number)}.h5" for number in (0, 5))
    damaged.write_bytes(damaged.read_bytes()[:700])
    with h5py.File(unfinished, "r+") as file:
        file["features"][5, 2] = np.nan
    corpus = {"features": features, "max_dropped": 0.2}
    settings = tiny(material, corpus=corpus, visual={"use_slot_cache": cached})
    reporter = Silent()
    metrics = train(settings, tmp_path / "run", reporter)
    assert metrics["dropped"] == {"damaged features": 1, "features not finite": 1}
    assert sum(metrics["rows"].values()) == 8
    listed = list(read_table(tmp_path / "run" / "skipped.csv").rows.values())
    assert [line["row_id"] for line in listed] == ["r0", "r5"]
    assert "the features of row 5 are not finite" in listed[1]["detail"]
    assert any(text.startswith("2 rows left out: ") for text in reporter.warnings)
    assert train(settings, tmp_path / "run", Silent()) == metrics
    strict = tiny(material, corpus={"features": features}, visual={"use_slot_cache": cached})
    with pytest.raises(DroppedRowsError, match="2 of 10 rows cannot be used"):
        train(strict, tmp_path / "strict", Silent())


@pytest.mark.parametrize("kind", ["sample", "spatial", "topm", "kmeans", "tome", "abmil", "full"])
def test_the_baselines_train_and_load(material: Path, tmp_path: Path, kind: str) -> None:
    visual = {"kind": kind, "compressor": None, "num_tokens": 4}
    metrics = train(tiny(material, visual=visual), tmp_path / "run", Silent())
    expected = {"projector", "visual"} if kind in ("abmil", "topm") else {"projector"}
    assert set(metrics["trained"]) == expected
    assert load_vqa(tmp_path / "run", device="cpu").model.visual.kind == kind


def test_gradient_checkpointing_changes_nothing(material: Path, tmp_path: Path) -> None:
    plain = train(tiny(material), tmp_path / "plain", Silent())
    twice = tiny(material, llm={"gradient_checkpointing": "on"})
    assert train(twice, tmp_path / "twice", Silent())["val_loss"] == plain["val_loss"]


def test_several_checkpoints_are_kept_and_each_is_a_run(material: Path, tmp_path: Path) -> None:
    options = {"epochs": 4, "keep_checkpoints": 3}
    metrics = train(tiny(material, train=options), tmp_path / "run", Silent())
    lines = read_table(tmp_path / "run" / "history.csv").rows.values()
    losses = {int(line["step"]): float(line["val_loss"]) for line in lines if line["val_loss"]}
    best, *others = sorted(losses, key=lambda step: losses[step])[:3]
    assert metrics["best_step"] == best
    folders = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert folders == {f"step-{step}" for step in others}
    kept = load_vqa(tmp_path / "run", device="cpu").model.projector.state_dict()
    for folder in sorted(folders):
        other = load_vqa(tmp_path / "run" / "checkpoints" / folder, device="cpu")
        weights = other.model.projector.state_dict()
        assert any(not kept[name].equal(weights[name]) for name in kept)
    second = {"stage": 2, "from_run": tmp_path / "run" / "checkpoints" / folder}
    assert inherited({"train": second})["train"] == {"precision": "fp32"}
    options = {"keep_checkpoints": 2}
    unvalidated = tiny(material, corpus={"val_fraction": 0}, train=options)
    with pytest.raises(UsageError, match="keeps the best validated steps, and nothing is"):
        train(unvalidated, tmp_path / "other", Silent())


def test_one_process_has_nothing_to_shard(material: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shard divides the weights among several processes"):
        train(tiny(material, train={"shard": True}), tmp_path / "run", Silent())
    assert not (tmp_path / "run").exists()


def test_the_page_shows_the_course_and_answers(material: Path, stage_1: Path) -> None:
    metrics = read_metrics(stage_1)
    lines = read_table(stage_1 / "history.csv").rows.values()
    assert len([line for line in lines if line["val_accuracy"]]) == 3
    assert all(float(line["tokens_per_s"]) > 0 for line in lines)
    page = (stage_1 / "report.html").read_text(encoding="utf-8")
    assert page.count("<td>nothing odd</td>") == metrics["rows"]["val"]
    assert "What?" in page
    assert metrics["mfu"] is None, "the peak of a CPU is not known"
    assert '<th scope="row">MFU</th>' not in page
    assert page.count("<img") == 2


def test_sharding_of_the_launchers_own_is_refused(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="sets ACCELERATE_USE_DEEPSPEED, which is not supported"):
        train(tiny(material), tmp_path / "run", Silent())


def test_bf16_trains(material: Path, tmp_path: Path) -> None:
    metrics = train(tiny(material, train={"precision": "bf16"}), tmp_path / "run", Silent())
    assert metrics["val_loss"] < 20


def test_a_compressor_with_places_does_not_train_with_the_language_model(
    material: Path, tmp_path: Path
) -> None:
    save_compressor(make_compressor(spatial=True), tmp_path / "spatial.safetensors")
    given = {"compressor": tmp_path / "spatial.safetensors"}
    settings = tiny(material, visual=given, train={"train_compressor": True})
    with pytest.raises(UsageError, match="with places does not train together"):
        train(settings, tmp_path / "run", Silent())


@pytest.mark.parametrize("train_compressor", [False, True])
def test_a_compressor_that_embeds_its_patches_is_trained_with_and_asked(
    material: Path, tmp_path: Path, train_compressor: bool
) -> None:
    compressor = make_compressor(feature_dim=12, embedded_from=16)
    save_compressor(compressor, tmp_path / "c.safetensors")
    given = {"compressor": tmp_path / "c.safetensors"}
    settings = tiny(material, visual=given, train={"train_compressor": train_compressor})
    train(settings, tmp_path / "run", Silent())
    loaded = load_vqa(tmp_path / "run", device="cpu")
    slide = next((material / "features").iterdir())
    seen = see_slide(loaded, slide)
    assert seen.tokens.shape == (6, 12)
    expected = compressor.compress([feature_tensor(slide, 16)]).slots[0]
    assert torch.allclose(seen.tokens, expected, atol=1e-6) is not train_compressor
