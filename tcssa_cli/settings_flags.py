"""Flags made from settings: a command with many settings names each of them at most once.

    @with_flags(Flags(TrainSettings, at="train", panel="Training"))
    def train(out: OutFolder, flags: dict[str, Any]) -> None: ...

has the flags ``--out``, ``--epochs``, ``--lr`` and so on, and is called with the given values as
``flags = {"train": {"epochs": None, "lr": 0.1, …}}``; None is "not given".
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from tcssa.config.settings import Section
from tcssa_cli.options import setting

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
    """

    section: type[Section]
    at: str | None = None
    panel: str | None = None
    names: Sequence[str] | None = None
    spelled: Mapping[str, str] = field(default_factory=dict)

    def parameters(self) -> Iterator[tuple[str, inspect.Parameter]]:
        """Yield each field's name, and the parameter from which typer makes its flag."""
        for name in self.names or self.section.model_fields:
            settled = self.section.model_fields[name]
            spelling = self.spelled.get(name) or _flag(name, is_on=settled.default is True)
            option = setting(self.section, name, spelling, panel=self.panel)
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


def _flag(name: str, *, is_on: bool) -> str:
    """Name a field's flag; a boolean that is on by default also gets ``--no-…``."""
    flag = name.replace("_", "-")
    return f"--{flag}/--no-{flag}" if is_on else f"--{flag}"


def _type_of(annotation: Any) -> Any:
    """Return the type of a flag: the field's own, without None."""
    is_union = get_origin(annotation) in (Union, UnionType)  # a Literal's with None is a Union
    kinds = get_args(annotation) if is_union else (annotation,)
    (kind,) = (kind for kind in kinds if kind is not NoneType)
    return kind
