"""Flags made from settings: each field has one, and what is given arrives nested."""

from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from tcssa.config.settings import Section
from tcssa.errors import UsageError
from tcssa.slides.settings import ExtractSettings
from tcssa_cli.commands.extract import _SETTINGS
from tcssa_cli.options import setting
from tcssa_cli.settings_flags import Flags, refuse_others, with_flags
from tcssa_cli.settings_flags import given as given_section


class Inner(Section):
    rate: float | None = Field(default=None, description="How fast.")
    kind: Literal["a", "b"] = Field(default="a", description="Which.")
    stage: Literal[1, 2] = Field(default=1, description="When.")
    loud: bool = Field(default=False, description="Whether.")


class Outer(Section):
    rate: int = Field(default=3, description="Another of that name.")
    hidden: int = Field(default=0, description="Without a flag.")
    wide: Literal["first", "second", "third", "fourth"] = Field(default="first", description="It.")
    many: list[str] = Field(default=[], description="Several.")


@pytest.fixture
def given() -> list[Any]:
    return []


@pytest.fixture
def app(given: list[Any]) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    @with_flags(
        Flags(Inner, at="inner", panel="Inside", spelled={"rate": "--inner-rate"}),
        Flags(Outer, names=["rate"]),
    )
    def command(
        flags: dict[str, Any], own: Annotated[str, typer.Option(help="Not of settings.")] = "x"
    ) -> None:
        """A command."""
        given.append((own, flags))

    return app


def test_what_is_not_given_is_none(app: typer.Typer, given: list[Any]) -> None:
    assert CliRunner().invoke(app, []).exit_code == 0
    inner = {"rate": None, "kind": None, "stage": None, "loud": None}
    assert given == [("x", {"inner": inner, "rate": None})]


def test_what_is_given_arrives_in_its_section(app: typer.Typer, given: list[Any]) -> None:
    words = "--inner-rate 0.5 --rate 7 --kind b --stage 2 --loud --own y"
    assert CliRunner().invoke(app, words.split()).exit_code == 0
    inner = {"rate": 0.5, "kind": "b", "stage": 2, "loud": True}
    assert given == [("y", {"inner": inner, "rate": 7})]


def test_a_value_of_another_type_is_refused(app: typer.Typer, given: list[Any]) -> None:
    assert CliRunner().invoke(app, ["--stage", "two"]).exit_code == 2
    assert CliRunner().invoke(app, ["--hidden", "1"]).exit_code == 2
    assert given == []


def test_the_help_is_that_of_the_fields(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for text in ("Inside", "--inner-rate", "How fast.", "[default: 3]", "Not of settings."):
        assert text in shown
    assert "--hidden" not in shown


def test_a_section_is_made_of_what_is_given() -> None:
    assert given_section(Inner, {"rate": None, "kind": "b"}) == Inner(kind="b")
    with pytest.raises(UsageError, match=r"kind: .*'a' or 'b', not 'c'"):
        given_section(Inner, {"kind": "c"})


def test_flags_of_another_group_are_refused_by_name() -> None:
    groups = (Flags(Inner, at="inner", panel="Inside", spelled={"rate": "--inner-rate"}),)
    flags = {"inner": {"rate": 0.5, "kind": None, "stage": None, "loud": None}}
    refuse_others(groups, ["inner"], flags, "it is fine")
    with pytest.raises(UsageError, match="--inner-rate is for inside, and this is outside"):
        refuse_others(groups, [], flags, "this is outside")


def test_wide_choices_stand_in_the_text_of_the_help() -> None:
    assert setting(Outer, "wide").metavar == "<choice>"
    assert "One of first, second, third, fourth." in setting(Outer, "wide").help
    assert setting(Outer, "many").metavar == "<str>"


def test_every_setting_of_an_extraction_has_a_flag() -> None:
    names = [name for flags in _SETTINGS for name in flags.names or ()]
    assert sorted(names) == sorted(ExtractSettings.model_fields)


def test_a_number_or_a_word_arrives_as_text_which_settings_read(given: list[Any]) -> None:
    class Mixed(Section):
        width: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
            default="auto", description="W."
        )

    app = typer.Typer(add_completion=False)

    @app.command()
    @with_flags(Flags(Mixed, at="mixed"))
    def command(flags: dict[str, Any]) -> None:
        """A command."""
        given.append(Mixed.model_validate(flags["mixed"]).width)

    for word in ("0", "128", "auto"):
        assert CliRunner().invoke(app, ["--width", word]).exit_code == 0
    assert given == [0, 128, "auto"]
