"""Configuration of a compressor."""

import pytest
from pydantic import ValidationError

from tcssa.compressor.config import CompressorConfig


def test_only_a_nested_model_may_become_fewer_slots() -> None:
    assert CompressorConfig(num_slots=24, nested=True).budgets == [6, 12, 24]
    assert CompressorConfig(num_slots=24).budgets == [24]


def test_what_is_kept_as_json_comes_back_whole() -> None:
    config = CompressorConfig(feature_dim=7, num_slots=4, noise_std=0.3, salience=True)
    assert CompressorConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "choice",
    [
        {"num_slots": 1},
        {"top_k": 33},
        {"top_k": 0},
        {"dropout": 1.0},
        {"noise_std": float("nan")},
        {"noise_std": float("inf")},
        {"auto_share": 0},
        {"hidden": 512},
    ],
)
def test_choices_that_cannot_be_are_refused_by_name(choice: dict[str, float]) -> None:
    (name,) = choice
    with pytest.raises(ValidationError, match=name):
        CompressorConfig.model_validate(choice)


def test_as_many_slots_a_patch_as_there_are_is_allowed() -> None:
    assert CompressorConfig(num_slots=3, top_k=3).top_k == 3


def test_a_config_cannot_be_changed() -> None:
    config = CompressorConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.top_k = 3  # type: ignore[misc]
    assert config.top_k == 2
