"""Every preset loads, and one whose data are absent says what it needs."""

from functools import partial
from pathlib import Path

import pytest

from tcssa.errors import MissingDataError, UnknownNameError
from tcssa.mil.settings import MilSettings
from tcssa.presets import named_preset, preset_names, preset_settings, read_preset
from tcssa.settings import resolve


def test_the_named_presets_are_there() -> None:
    assert {"nsclc", "brca", "panda", "demo"} <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_makes_valid_settings(name: str, tmp_path: Path) -> None:
    preset = read_preset(name)
    (tmp_path / preset.features).mkdir(parents=True)
    (tmp_path / preset.labels).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / preset.labels).touch()
    settings = resolve(
        MilSettings, flags={"dataset": name}, preset=partial(named_preset, data_root=tmp_path)
    )
    assert settings.cohort.labels == tmp_path / preset.labels
    assert settings.dataset == name


def test_values_of_the_paper() -> None:
    assert read_preset("nsclc").settings["model"]["num_slots"] == 64
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
