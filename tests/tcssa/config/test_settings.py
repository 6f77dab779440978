"""Which source of a setting wins, and what happens to misspelt ones."""

from pathlib import Path

import pytest
from pydantic import Field

from tcssa.config.settings import Section, read_yaml, resolve, validate, write_resolved
from tcssa.errors import UsageError


class Inner(Section):
    lr: float = Field(default=0.1, gt=0)
    epochs: int = 5


class Outer(Section):
    seed: int = 0
    train: Inner = Inner()


def test_flag_beats_environment_beats_file_beats_preset_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preset(given: object) -> dict[str, object]:
        return {"train": {"lr": 1, "epochs": 1}, "seed": 1}

    (tmp_path / "c.yaml").write_text("train: {lr: 2}\nseed: 2\n")
    flags = {"seed": None, "train": {"lr": None, "epochs": None}}

    def resolved(**kwargs: object) -> Outer:
        return resolve(Outer, flags=flags, **kwargs)  # type: ignore[arg-type]

    assert resolved() == Outer()
    assert resolved(preset=preset) == Outer(seed=1, train=Inner(lr=1, epochs=1))
    assert resolved(preset=preset, config=tmp_path / "c.yaml") == Outer(
        seed=2, train=Inner(lr=2, epochs=1)
    )
    monkeypatch.setenv("TCSSA_TRAIN__LR", "3")
    assert resolved(preset=preset, config=tmp_path / "c.yaml").train == Inner(lr=3, epochs=1)
    flags["train"] = {"lr": 4, "epochs": None}
    assert resolved(preset=preset, config=tmp_path / "c.yaml").train == Inner(lr=4, epochs=1)


def test_what_was_in_force_can_be_given_back(tmp_path: Path) -> None:
    settings = Outer(seed=3, train=Inner(lr=0.25))
    write_resolved(settings, tmp_path)
    assert validate(Outer, read_yaml(tmp_path / "config.resolved.yaml")) == settings


def test_misspelt_names_and_bad_values_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_TRAIN__LRR", "3")
    (tmp_path / "c.yaml").write_text("sed: 1\ntrain: {lr: -1}\n")
    with pytest.raises(UsageError) as caught:
        resolve(Outer, flags={}, config=tmp_path / "c.yaml")
    for part in ("train.lrr", "sed", "train.lr: Input should be greater than 0"):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text"])
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"c\.yaml"):
        read_yaml(tmp_path / "c.yaml")


def test_a_fault_names_the_flag_the_variable_or_the_line_that_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_TRAIN__EPOCHS", "many")
    (tmp_path / "c.yaml").write_text("# ours\nseed: 3\n\nwidth: 1\ntrain:\n  lr: 0.2\n  lrr: 2\n")
    flags = {"train": {"lr": -1.0}}
    with pytest.raises(UsageError) as caught:
        resolve(Outer, flags=flags, config=tmp_path / "c.yaml")
    said = f"{caught.value} {caught.value.hint}"
    assert "train.lr: Input should be greater than 0, not -1.0 (--lr)" in said
    assert "Input should be a valid integer, not 'many' (TCSSA_TRAIN__EPOCHS)" in said
    assert "train.lrr: is no setting; did you mean lr? (c.yaml line 7)" in said
    assert "width: is no setting; it may be seed, train (c.yaml line 4)" in said
