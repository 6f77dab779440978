"""The wording of a question: what stands between slide, question and options, and after them.

It decides figures: the same model ties letters to options more or less well as it is asked. So
the wordings of others are known by name, beside the project's own, and a file may hold another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tcssa.config.presets import configs_folder
from tcssa.config.settings import read_yaml
from tcssa.errors import SettingsFileError, UnknownNameError, UsageError
from tcssa.files.text import validated
from tcssa.vqa.conversation import IMAGE_MARK, LETTERS, Turn
from tcssa.vqa.settings import OWN_PROMPT

_FILE = "vqa_prompts.yaml"
_BLANK = re.compile(r"\{(\w*)\}")
_MOST_CHARACTERS = 10_000


class Wording(BaseModel):
    """The wording of questions about a slide; blanks are written ``{question}``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str | None = None
    """Where it is from."""
    after_slide: str = Field(default="\n", max_length=100)
    """Stands between the slide and the question."""
    option: str = Field(default="{letter}. {text}", max_length=_MOST_CHARACTERS)
    """One option; options stand on lines of their own."""
    question: str = Field(
        default="{question}\n{options}\nAnswer with the letter of the right option.",
        max_length=_MOST_CHARACTERS,
    )
    """A question with options; an open one is asked as it is."""

    @model_validator(mode="after")
    def _require_blanks(self) -> Self:
        """Require that every blank is there once, and no other."""
        for name, text, expected in (
            ("option", self.option, ["letter", "text"]),
            ("question", self.question, ["options", "question"]),
            ("after_slide", self.after_slide, []),
        ):
            if sorted(_BLANK.findall(text)) != expected:
                blanks = " and ".join(f"{{{blank}}}" for blank in expected) or "no blank"
                raise ValueError(f"{name} must hold {blanks}, each once, and no other")
        return self

    def text(self, question: str, options: Sequence[str] = ()) -> str:
        """Write a question, with its options lettered from A.

        Args:
            question: The question.
            options: Its options; none for an open question.
        """
        if not options:
            return question.strip()
        lines = [
            _filled(self.option, letter=LETTERS[place], text=option.strip())
            for place, option in enumerate(options)
        ]
        return _filled(self.question, question=question.strip(), options="\n".join(lines))

    def turn(self, question: str, options: Sequence[str] = ()) -> Turn:
        """Build the turn of a question about a slide, the slide before it.

        Args:
            question: The question.
            options: Its options; none for an open question.
        """
        return Turn("user", f"{IMAGE_MARK}{self.after_slide}{self.text(question, options)}")


OWN = Wording()
"""The project's own wording."""


def read_wording(prompt: str) -> Wording:
    """Return a wording by its name, or from a file.

    Args:
        prompt: A name, or a YAML file with the fields of `Wording`.

    Raises:
        UnknownNameError: There is neither such a name nor such a file.
        UsageError: There are both.
        SettingsFileError: The file is damaged, or holds no wording.
    """
    known = {OWN_PROMPT: OWN, **_wordings()}
    path = Path(prompt)
    if prompt in known:
        if path.exists():
            raise UsageError(
                f"--prompt {prompt} is the name of a wording, and a file of that name lies here",
                hint=f"rename the file, or give ./{prompt} for it",
            )
        return known[prompt]
    if not path.exists():
        raise UnknownNameError("wording, and no file,", prompt, known)
    return validated(read_yaml(path), path, SettingsFileError, Wording)


def _wordings() -> dict[str, Wording]:
    path = configs_folder() / _FILE
    return {
        name: validated(fields, path, SettingsFileError, Wording)
        for name, fields in read_yaml(path).items()
    }


def _filled(pattern: str, /, **blanks: str) -> str:
    # in one pass: what a question holds is no blank
    return _BLANK.sub(lambda found: blanks[found[1]], pattern)
