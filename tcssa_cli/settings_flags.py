"""Flags made from settings: a command with many settings names each of them at most once.

    @with_flags(Flags(TrainSettings, at="train", panel="Training"))
    def train(out: OutFolder, flags: dict[str, Any]) -> None: ...

has the flags ``--out``, ``--epochs``, ``--lr`` and so on, and is called with the given values as
``flags = {"train": {"epochs": None, "lr": 0.1, …}}``; None is "not given". `given` makes a section
of them, and `refuse_others` refuses those that another kind of run takes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from tcssa.config.settings import Section, validate
from tcssa.errors import UsageError
from tcssa_cli.options import Names, setting

S = TypeVar("S", bound=Section)
Command = Callable[..., None]


@dataclass(frozen=True)
class Flags:
    """The flags of one section of settings.

    Attributes:
        section: The settings.
        at: Key of this section in the command's settings; None if it is all of them.
        panel: Heading in the help.
        names: Fields that have a flag; None for all.
        spelled: Flags that are not ``--field-name``, by field.
        completed: What the shell completes, by field; choices of a Literal need none.
    """

    section: type[Section]
    at: str | None = None
    panel: str | None = None
    names: Sequence[str] | None = None
    spelled: Mapping[str, str] = field(default_factory=dict)
    completed: Mapping[str, Names] = field(default_factory=dict)

    def parameters(self) -> Iterator[tuple[str, inspect.Parameter]]:
        """Yield each field's name, and the parameter from which typer makes its flag."""
        for name in self.names or self.section.model_fields:
            settled = self.section.model_fields[name]
            option = setting(
                self.section,
                name,
                self.flag(name, is_on=settled.default is True),
                panel=self.panel,
                names=self.completed.get(name),
            )
            kind = _type_of(settled.annotation)
            yield (
                name,
                inspect.Parameter(
                    name if self.at is None else f"{self.at}_{name}",
                    inspect.Parameter.KEYWORD_ONLY,
                    default=None,
                    annotation=Annotated[kind | None, option],
                ),
            )

    def flag(self, name: str, *, is_on: bool = False) -> str:
        """Return a field's flag.

        Args:
            name: The field.
            is_on: It is a boolean that is on by default, which also gets ``--no-…``.
        """
        if name in self.spelled:
            return self.spelled[name]
        flag = name.replace("_", "-")
        return f"--{flag}/--no-{flag}" if is_on else f"--{flag}"


def with_flags(*groups: Flags) -> Callable[[Command], Command]:
    """Give a command the flags of settings; it receives their values together, as ``flags``."""
    made = [(group, list(group.parameters())) for group in groups]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            flags: dict[str, Any] = {}
            for group, parameters in made:
                place = flags if group.at is None else flags.setdefault(group.at, {})
                place |= {name: given.pop(parameter.name) for name, parameter in parameters}
            command(**given, flags=flags)

        own = inspect.signature(command, eval_str=True).parameters.values()
        flags = [parameter for _, parameters in made for _, parameter in parameters]
        called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
            [parameter for parameter in own if parameter.name != "flags"] + flags
        )
        return called

    return decorate


def given(section: type[S], flags: Mapping[str, Any]) -> S:
    """Make a section from flags; those that are not given have the section's defaults.

    Args:
        section: The settings to make.
        flags: Values by field; None is "not given".

    Raises:
        UsageError: A value is not valid.
    """
    return validate(section, {name: value for name, value in flags.items() if value is not None})


def refuse_others(
    groups: Sequence[Flags], taken: Sequence[str], flags: Mapping[str, Any], why: str
) -> None:
    """Refuse flags that do not go with what is asked for, rather than ignore them.

    Args:
        groups: The command's groups of flags, each with a panel that says what it is for.
        taken: Keys of the groups that go with it.
        flags: The values, by key and field.
        why: What is asked for, to end the sentence.

    Raises:
        UsageError: A flag of another group is given.
    """
    for group in groups:
        for name in group.names or group.section.model_fields:
            if group.at and group.at not in taken and flags[group.at][name] is not None:
                panel = group.panel or "other calls"
                panel = panel if panel[1].isupper() else panel[0].lower() + panel[1:]
                raise UsageError(f"{group.flag(name)} is for {panel}, and {why}")


def _type_of(annotation: Any) -> Any:
    """Return the type of a flag: the field's own, without None; text where there are several."""
    is_union = get_origin(annotation) in (Union, UnionType)  # a Literal's with None is a Union
    kinds = get_args(annotation) if is_union else (annotation,)
    kind, *others = (kind for kind in kinds if kind is not NoneType)
    if others:
        return str
    if get_origin(kind) is tuple:  # typer takes no Literal within a tuple; the settings check it
        return tuple[tuple(str if get_origin(k) is Literal else k for k in get_args(kind))]  # type: ignore[misc]
    return kind
