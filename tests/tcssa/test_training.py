"""The rules that every training follows."""

import math
import time
from pathlib import Path

import pytest
import torch

from tcssa.config.settings import Section, write_resolved
from tcssa.errors import DivergedError, RunError
from tcssa.run import write_run
from tcssa.training import (
    Interval,
    autocast,
    begun_run,
    changed_settings,
    require_finite,
    require_unchanged,
    rise_and_fall,
    seeded_number,
)


class Rates(Section):
    lr: float = 0.1
    device: str = "cpu"


class Settings(Section):
    train: Rates = Rates()


def test_numbers_follow_from_the_seed_and_the_purpose_and_never_change() -> None:
    assert seeded_number(0, "weights") == 0x1D8B20AB3B48DD70
    assert seeded_number(3, 1, "epoch 2") == seeded_number("3 1 epoch 2")
    drawn = {seeded_number(seed, f"step {step}") for seed in range(10) for step in range(10)}
    assert len(drawn) == 100
    assert all(0 <= number < 2**64 for number in drawn)


def test_a_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    rates = [rise_and_fall((step + 1) / 100, 0.1, step, 100) for step in range(100)]
    assert [rise for rise, _ in rates[:12]] == pytest.approx(
        [n / 10 for n in range(1, 11)] + [1, 1]
    )
    assert [fall for _, fall in rates] == pytest.approx(
        [math.cos(math.pi * step / 200) ** 2 for step in range(100)]
    )
    assert rise_and_fall(0.01, 0.0, 0, 100) == (1.0, 1.0)
    assert rise_and_fall(0.51, 0.1, 0.5) == rise_and_fall(0.51, 0.1, 50, 100)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_number_format_is_that_of_products(precision: str, dtype: torch.dtype) -> None:
    with autocast(torch.device("cpu"), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(loss: float) -> None:
    assert require_finite(0.5, "fold 0", 0.1) == 0.5
    with pytest.raises(DivergedError, match=f"fold 0 diverged: the loss is {loss}") as caught:
        require_finite(loss, "fold 0 diverged", 0.1)
    assert caught.value.hint is not None
    assert "--lr than 0.1" in caught.value.hint


def test_an_interval_is_over_when_its_seconds_have_passed_since_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    interval = Interval(5)
    assert Interval(0).is_over()
    assert not interval.is_over()
    now[0] = 105
    assert interval.is_over()
    now[0] = 108  # what was due has taken three seconds
    interval.restart()
    now[0] = 112.9
    assert not interval.is_over()
    now[0] = 113
    assert interval.is_over()


def test_a_run_goes_on_with_its_own_settings_but_for_those_that_are_free(tmp_path: Path) -> None:
    assert begun_run(tmp_path, "train-x") is None
    write_run(tmp_path, {"kind": "train-x", "complete": False})
    write_resolved(Settings(), tmp_path)
    found = begun_run(tmp_path, "train-x")
    assert found is not None
    assert found["complete"] is False
    with pytest.raises(RunError, match="is a run of train-x"):
        begun_run(tmp_path, "train-y")
    now = Settings(train=Rates(lr=0.5, device="cuda"))
    changed = changed_settings(tmp_path, now, {"train": ("device",)})
    assert changed == ["train.lr was 0.1, now 0.5"]
    assert changed_settings(tmp_path, now, {"train": ("device", "lr")}) == []
    require_unchanged(tmp_path, [])
    with pytest.raises(RunError, match=r"other settings or files: train\.lr was 0\.1, now 0\.5"):
        require_unchanged(tmp_path, changed)
