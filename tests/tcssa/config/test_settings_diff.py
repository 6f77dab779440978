"""Differences between the settings of a run, then and now."""

from tcssa.config.settings_diff import differences
from tcssa.mil.settings import MilSettings, TrainSettings


def test_a_changed_value_is_named_with_its_sections_and_others_are_not() -> None:
    before = MilSettings().model_dump()
    after = MilSettings(train=TrainSettings(lr=0.5, folds=3)).model_dump()
    assert differences(before, before) == []
    assert differences(before, after) == [
        f"train.folds was {before['train']['folds']}, now 3",
        f"train.lr was {before['train']['lr']}, now 0.5",
    ]


def test_a_value_that_came_or_went_is_named() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"d": "x"}}) == [
        "a was 1, now None",
        "b.c was 2, now None",
        "b.d was None, now 'x'",
    ]


def test_a_section_in_place_of_a_value_is_told_whole() -> None:
    assert differences({"mask": None}, {"mask": {"path": "m.png"}}) == [
        "mask was None, now {'path': 'm.png'}"
    ]


def test_names_stand_in_order_below_their_prefix() -> None:
    assert differences({"z": 1, "a": 1}, {"z": 2, "a": 2}, "model.") == [
        "model.a was 1, now 2",
        "model.z was 1, now 2",
    ]
