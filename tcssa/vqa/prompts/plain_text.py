"""Text as tokens, where only the template's special tokens are special.

A tokenizer finds its special tokens anywhere in a text, so that a question could end its own turn
and speak as the assistant. Here text is tokenised by a copy of the tokenizer that knows no special
tokens; those of the template are put in by their ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

from tcssa.errors import TemplateError


class TextEncoder:
    """Tokenises plain text and template marks.

    Args:
        tokenizer: A fast tokenizer of transformers, hence Any.

    Attributes:
        special: The id of each added token, special ones or not, by its text.

    Raises:
        TemplateError: The tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TemplateError(
                f"a {type(tokenizer).__name__} is no fast tokenizer",
                hint="use a model that has a tokenizer.json",
            )
        self._plain = Tokenizer(backend.model)
        if backend.normalizer is not None:
            self._plain.normalizer = backend.normalizer
        if backend.pre_tokenizer is not None:
            self._plain.pre_tokenizer = backend.pre_tokenizer
        added = tokenizer.added_tokens_decoder
        self.special = {token.content: int(index) for index, token in added.items()}
        self._special_ids = frozenset(self.special.values())
        longest_first = sorted(self.special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def plain(self, text: str) -> list[int]:
        """Tokenise a text in which nothing is special.

        Raises:
            TemplateError: The tokenizer finds a special token in the text all the same.
        """
        if not text:  # between the placeholders of a slide, of which a row has many
            return []
        ids = list(self._plain.encode(text, add_special_tokens=False).ids)
        if not self._special_ids.isdisjoint(ids):
            raise TemplateError(f"the tokenizer cannot spell out a special token: {text[:100]!r}")
        return ids

    def marks(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Split a template's mark into special tokens with their ids, and the text between."""
        for part in filter(None, self._split.split(text)) if self.special else [text]:
            yield part, self.special.get(part)
