"""Every preset loads, and one whose data are absent says what it needs."""

from functools import partial
from pathlib import Path

import pytest

from tcssa.config.presets import named_preset, preset_names, preset_settings, read_preset
from tcssa.config.settings import resolve
from tcssa.errors import MissingDataError, UnknownNameError
from tcssa.mil.methods import METHODS
from tcssa.mil.settings import MilSettings
from tcssa.statistics.metrics import METRICS


def test_the_named_presets_are_there() -> None:
    assert {"nsclc", "brca", "panda", "camelyon16", "demo"} <= set(preset_names())


def lay_out(name: str, root: Path) -> None:
    """Put empty files where a preset expects its own."""
    preset = read_preset(name)
    (root / preset.features).mkdir(parents=True)
    (root / preset.labels).parent.mkdir(parents=True, exist_ok=True)
    (root / preset.labels).touch()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_makes_valid_settings(name: str, tmp_path: Path) -> None:
    preset = read_preset(name)
    lay_out(name, tmp_path)
    for method in ["tcssa", *preset.models]:
        settings = resolve(
            MilSettings,
            flags={"dataset": name, "model": {"name": method}},
            preset=partial(named_preset, data_root=tmp_path),
        )
        assert settings.cohort.labels == tmp_path / preset.labels
        assert settings.dataset == name
        assert settings.model.name == method


@pytest.mark.parametrize("name", preset_names())
def test_what_is_stated_names_known_methods_and_metrics_and_its_source(name: str) -> None:
    preset = read_preset(name)
    known = {"tcssa", *METHODS}
    assert set(preset.models) <= known
    for statement in preset.expected:
        assert statement.metric in METRICS
        assert statement.source
        assert statement.caveat
        assert {row.method for row in statement.figures} <= known
        assert all(50 < row.percent < 100 for row in statement.figures)


@pytest.mark.parametrize("name", ["brca", "camelyon16", "nsclc", "panda"])
def test_a_stranger_is_told_every_step(name: str) -> None:
    preset = read_preset(name)
    steps = " ".join(preset.steps)
    assert preset.labels in steps
    assert f"tcssa extract SLIDES --out DATA/{preset.features}" in steps
    assert f"tcssa train-mil --dataset {name}" in steps


def test_each_method_gets_the_settings_it_was_published_with(tmp_path: Path) -> None:
    lay_out("nsclc", tmp_path)

    def rate(**model: str) -> float:
        given = {"dataset": "nsclc", "model": model}
        return float(named_preset(given, tmp_path)["train"]["lr"])

    assert rate() == rate(name="tcssa") == 1e-4
    assert rate(name="transmil") == 2e-4
    assert "train" not in named_preset({"dataset": "nsclc", "model": {"name": "mean"}}, tmp_path)
    flags = {"dataset": "nsclc", "model": {"name": "transmil"}, "train": {"lr": 0.5}}
    settings = resolve(MilSettings, flags=flags, preset=partial(named_preset, data_root=tmp_path))
    assert (settings.train.lr, settings.train.epochs) == (0.5, 200)  # a flag beats the preset


def test_official_splits_are_taken_unless_others_are_given(tmp_path: Path) -> None:
    lay_out("camelyon16", tmp_path)
    table = tmp_path / "camelyon16/labels.csv"
    assert named_preset({"dataset": "camelyon16"}, tmp_path)["split"]["files"] == str(table)
    flags = {"dataset": "camelyon16", "split": {"files": "mine.csv"}}
    settings = resolve(MilSettings, flags=flags, preset=partial(named_preset, data_root=tmp_path))
    assert settings.split.files == Path("mine.csv")


def test_values_of_the_paper() -> None:
    assert read_preset("nsclc").models["tcssa"].settings["model"]["num_slots"] == 64
    best = read_preset("nsclc").expected[0].figures[0]
    assert (best.method, best.num_slots) == ("tcssa", 64)
    assert (best.text, best.fraction) == ("98.27 %", "0.9827")
    assert read_preset("nsclc").settings["cohort"]["classes"] == ["LUAD", "LUSC"]
    assert len(read_preset("panda").settings["cohort"]["classes"]) == 6


def test_absent_data_are_named_with_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_DATA", str(tmp_path))
    with pytest.raises(MissingDataError) as caught:
        preset_settings("nsclc", None)
    assert str(tmp_path / "nsclc/labels.csv") in str(caught.value)
    assert str(tmp_path / "nsclc/features") in str(caught.value)
    assert caught.value.hint is not None
    assert "tcssa extract" in caught.value.hint
    assert "tcssa presets nsclc" in caught.value.hint


def test_an_unknown_dataset_offers_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'nslcc'") as caught:
        read_preset("nslcc")
    assert caught.value.hint == "did you mean nsclc?"


def test_labels_from_the_environment_need_not_be_under_the_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_DATASET", "nsclc")
    monkeypatch.setenv("TCSSA_COHORT__LABELS", str(tmp_path / "mine.csv"))
    (tmp_path / "nsclc/features").mkdir(parents=True)
    (tmp_path / "c.yaml").write_text("cohort:\n")  # an empty section says nothing
    settings = resolve(
        MilSettings,
        flags={},
        config=tmp_path / "c.yaml",
        preset=partial(named_preset, data_root=tmp_path),
    )
    assert settings.model.num_slots == 64
    assert settings.cohort.labels == tmp_path / "mine.csv"
    assert settings.cohort.features == tmp_path / "nsclc/features"


def test_a_table_that_also_has_the_splits_is_replaced_as_a_whole(tmp_path: Path) -> None:
    given = {"dataset": "camelyon16", "cohort": {"labels": "mine.csv", "features": "f"}}
    assert named_preset(given, tmp_path)["split"]["files"] == "mine.csv"
    given["split"] = {"files": "official.csv"}
    assert "files" not in named_preset(given, tmp_path).get("split", {})
