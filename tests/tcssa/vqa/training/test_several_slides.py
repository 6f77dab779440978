"""Training on rows of several slides: merged as one slide, or one behind the other."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from heard import Heard
from safetensors.torch import load_file
from vqa_several import NUM_PATIENTS, patient, slides_of, talk, write_patients, write_talks
from vqa_training import tiny, write_material

from tcssa.errors import RunError, UsageError
from tcssa.files.table import read_table
from tcssa.reporter import Silent
from tcssa.vqa.model.merge import merge_vqa
from tcssa.vqa.model.model_setup import load_parts
from tcssa.vqa.model.run import load_vqa
from tcssa.vqa.model.run_file import trained_several
from tcssa.vqa.settings import VqaSettings, inherited
from tcssa.vqa.training.batches import collate
from tcssa.vqa.training.corpus import read_candidates
from tcssa.vqa.training.fit import VqaFit
from tcssa.vqa.training.train import train

WEIGHTS = "projector.safetensors"
EPOCHS = {"epochs": 2}


@pytest.fixture(scope="module")
def material(tiny_llm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_material(tmp_path_factory.mktemp("several"), tiny_llm_folder)
    write_patients(folder)
    numbers = range(NUM_PATIENTS)
    write_talks(folder / "whole.json", [talk(n, slides_of(n)[:1]) for n in numbers])
    write_talks(folder / "apart.json", [talk(n, slides_of(n)) for n in numbers])
    write_talks(folder / "turned.json", [talk(n, slides_of(n)[::-1]) for n in numbers])
    write_talks(folder / "patients.json", [talk(n, [patient(n)]) for n in numbers])
    both = "<image> and <image>\nWhat?"
    write_talks(folder / "marked.json", [talk(n, slides_of(n), both) for n in numbers])
    return folder


def settings(
    material: Path, data: str, several: str = "error", **more: dict[str, Any]
) -> VqaSettings:
    features = material / ("whole" if data == "whole.json" else "apart")
    corpus = {"features": features, "several": several, **more.pop("corpus", {})}
    return tiny(material, data, corpus=corpus, train=EPOCHS | more.pop("train", {}), **more)


def weights(
    material: Path, out: Path, data: str, several: str = "error", **more: dict[str, Any]
) -> dict[str, torch.Tensor]:
    train(settings(material, data, several, **more), out, Silent())
    return load_file(out / WEIGHTS)


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.fixture(scope="module")
def whole(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(settings(material, "whole.json"), out, Silent())
    return out


@pytest.fixture(scope="module")
def behind(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose slides stand one behind the other."""
    out = tmp_path_factory.mktemp("behind") / "run"
    train(settings(material, "apart.json", "concat"), out, Silent())
    return out


@pytest.mark.parametrize("data", ["apart.json", "turned.json", "patients.json"])
@pytest.mark.parametrize("cached", [True, False])
def test_merged_slides_train_as_one_slide_of_all_patches(
    data: str, cached: bool, material: Path, whole: Path, tmp_path: Path
) -> None:
    found = weights(material, tmp_path / "run", data, "merge", visual={"use_slot_cache": cached})
    assert_close(found, load_file(whole / WEIGHTS))
    losses = [
        json.loads((run / "metrics.json").read_text())["val_loss"]
        for run in (whole, tmp_path / "run")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert trained_several(tmp_path / "run") == "merge"
    assert trained_several(whole) == "error"
    assert "several" not in json.loads((whole / "vqa.json").read_text())


def test_a_compressor_learns_from_merged_slides_as_from_one(material: Path, tmp_path: Path) -> None:
    options = {"train_compressor": True, "compressor_lr": 0.01}
    for name, (data, several) in {
        "one": ("whole.json", "error"), "two": ("apart.json", "merge")
    }.items():  # fmt: skip
        train(settings(material, data, several, train=options), tmp_path / name, Silent())
    one, two = (load_file(tmp_path / name / "compressor.safetensors") for name in ("one", "two"))
    assert_close(one, two)


def test_the_order_of_slides_counts_where_they_stand_behind_each_other(
    material: Path, behind: Path, tmp_path: Path
) -> None:
    turned = weights(material, tmp_path / "turned", "turned.json", "concat")
    straight = load_file(behind / WEIGHTS)
    assert any(not torch.allclose(straight[n], turned[n], atol=1e-4) for n in straight)
    by_patient = weights(material, tmp_path / "patients", "patients.json", "concat")
    assert all(value.equal(straight[name]) for name, value in by_patient.items())


def test_slides_behind_each_other_train_the_same_without_a_cache_and_packed(
    material: Path, behind: Path, tmp_path: Path
) -> None:
    straight = load_file(behind / WEIGHTS)
    uncached = {"use_slot_cache": False}
    found = weights(material, tmp_path / "read", "apart.json", "concat", visual=uncached)
    assert_close(found, straight)
    found = weights(
        material, tmp_path / "pack", "apart.json", "concat", visual=uncached, train={"pack": True}
    )
    assert_close(found, straight)


@pytest.mark.parametrize(
    ("data", "several", "runs"),
    [
        ("apart.json", "concat", [12]),
        ("marked.json", "concat", [6, 6]),
        ("marked.json", "merge", [6]),
        ("apart.json", "merge", [6]),
    ],
)
def test_a_row_has_the_tokens_of_its_slides_in_place(
    data: str, several: str, runs: list[int], material: Path
) -> None:
    """Visual tokens stand together where one mark is for all, and apart at marks of their own."""
    wanted = settings(material, data, several)
    parts = load_parts(wanted, torch.device("cpu"))
    row = read_candidates(wanted, parts).train[0]
    is_visual = (row.input_ids == parts.model.image_token_id).tolist()
    text = "".join("#" if visual else " " for visual in is_visual).split()
    assert [len(each) for each in text] == runs
    assert set(row.labels[torch.tensor(is_visual)].tolist()) == {-100}
    (total,) = [sum(span.num_patches for span in row.spans)]
    batch = collate([row], lambda _: torch.randn(total, 16), parts.pad_id)
    assert parts.model(batch).num_targets == row.num_targets
    assert batch.attention_mask.all()


def test_rows_of_several_slides_are_left_out_without_a_rule(material: Path, tmp_path: Path) -> None:
    rows = [*(talk(n, slides_of(n)[:1]) for n in range(9)), talk(9, slides_of(9))]
    data = write_talks(tmp_path / "rows.json", rows)
    corpus = {"data": data, "max_dropped": 0.5}
    train(settings(material, "apart.json", corpus=corpus), tmp_path / "run", Silent())
    (line,) = read_table(tmp_path / "run" / "skipped.csv").rows.values()
    assert line["reason"] == "several slides"
    assert "--several merge or concat" in line["detail"]


def test_faults_of_one_slide_leave_its_rows_out_and_name_it(material: Path, tmp_path: Path) -> None:
    rows = [
        *(talk(n, slides_of(n)) for n in range(8)),
        talk(8, [*slides_of(8), "absent"], "What?"),
        talk(9, [patient(9), slides_of(9)[0]]),
    ]
    data = write_talks(tmp_path / "rows.json", rows)
    corpus = {"data": data, "max_dropped": 0.5}
    train(settings(material, "apart.json", "concat", corpus=corpus), tmp_path / "run", Silent())
    lines = list(read_table(tmp_path / "run" / "skipped.csv").rows.values())
    assert [line["reason"] for line in lines] == ["no features", "slide stands twice"]
    assert "'absent'" in lines[0]["detail"]
    assert lines[1]["slide"] == f"{patient(9)} + {slides_of(9)[0]}"


def test_a_training_says_that_it_chooses_slides(material: Path, tmp_path: Path) -> None:
    reporter = Heard()
    train(settings(material, "patients.json", "dx1"), tmp_path / "one", reporter)
    assert (
        f"{NUM_PATIENTS} patients have several slides; of each one was taken (--several dx1)"
        in reporter.warnings
    )
    reporter = Heard()
    train(settings(material, "patients.json", "concat"), tmp_path / "all", reporter)
    assert any("all of each were shown (--several concat)" in note for note in reporter.notes)


def test_a_row_of_many_slides_may_be_too_long(material: Path, tmp_path: Path) -> None:
    rows = [talk(n, slides_of(n)[:1]) for n in range(9)]
    rows.append(talk(9, [name for n in range(10) for name in slides_of(n)]))
    data = write_talks(tmp_path / "rows.json", rows)
    corpus = {"data": data, "max_length": 60, "max_dropped": 0.5}
    train(settings(material, "apart.json", "concat", corpus=corpus), tmp_path / "run", Silent())
    (line,) = read_table(tmp_path / "run" / "skipped.csv").rows.values()
    assert line["reason"] == "too long"


def test_stage_2_takes_over_what_several_slides_become_and_may_change_it(
    material: Path, behind: Path, tmp_path: Path
) -> None:
    given = {"train": {"from_run": behind}}
    assert inherited(given)["corpus"] == {"several": "concat"}
    stage_2 = {"stage": 2, "from_run": behind}
    reporter = Heard()
    train(settings(material, "apart.json", "merge", train=stage_2), tmp_path / "run", reporter)
    assert any("--several merge" in note and "with concat" in note for note in reporter.notes)
    merge_vqa(tmp_path / "run", tmp_path / "merged")
    assert trained_several(tmp_path / "merged") == "merge"
    assert load_vqa(tmp_path / "merged", device="cpu").settings.several == "merge"


@pytest.mark.parametrize("several", ["merge", "concat"])
def test_a_training_that_was_cut_short_goes_on_to_the_same_weights(
    several: str, material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(material, "apart.json", several, train={"checkpoint_every_s": 0})
    train(given, tmp_path / "whole", Silent())
    step, steps = VqaFit._step, []

    def cut_short(self: VqaFit) -> None:
        if self.progress.step == 3:
            raise KeyboardInterrupt
        step(self)

    def noted(self: VqaFit) -> None:
        steps.append(self.progress.step)
        step(self)

    with monkeypatch.context() as patched:
        patched.setattr(VqaFit, "_step", cut_short)
        with pytest.raises(KeyboardInterrupt):
            train(given, tmp_path / "run", Silent())
    assert not (tmp_path / "run" / "vqa.json").exists()
    monkeypatch.setattr(VqaFit, "_step", noted)
    metrics = train(given, tmp_path / "run", Silent())
    assert steps == list(range(3, metrics["steps"]))
    whole, again = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "run"))
    assert whole == again


def test_a_begun_run_does_not_go_on_with_another_rule(material: Path, behind: Path) -> None:
    with pytest.raises(RunError, match="several was 'concat', now 'merge'"):
        train(settings(material, "apart.json", "merge"), behind, Silent())


@pytest.mark.parametrize("kind", ["mean", "sample", "full"])
def test_what_makes_no_sums_puts_slides_behind_each_other_only(
    kind: str, material: Path, tmp_path: Path
) -> None:
    visual = {"kind": kind, "compressor": None, "num_tokens": 4}
    with pytest.raises(UsageError, match=f"adds up slots, and --visual {kind} has none"):
        train(settings(material, "apart.json", "merge", visual=visual), tmp_path / "a", Silent())
    metrics = train(
        settings(material, "apart.json", "concat", visual=visual), tmp_path / "b", Silent()
    )
    assert metrics["slides"]["train"] == 2 * metrics["rows"]["train"]
