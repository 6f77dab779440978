"""Text as tokens, where only the template's special tokens are special.

A tokenizer finds its special tokens anywhere in a text, so that a question could end its own turn
and speak as the assistant. Here text is tokenised by a copy of the tokenizer that knows no special
tokens; those of the template are put in by their ids.

SentencePiece's tokenizers put a space before a text, some before each stretch between two special
tokens, others before the first alone. A stretch that is cut where the assistant begins goes on
without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from tcssa.errors import TemplateError

After = Literal["nothing", "special", "text"]
"""What stands before a stretch of text."""


class TextEncoder:
    """Tokenises plain text and template marks.

    Args:
        tokenizer: A fast tokenizer of transformers, hence Any.

    Attributes:
        special: The id of each added token, special ones or not, by its text.
        stripping: Those of them that take the white space behind them.

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
        self._begun, self._going_on = _copy(backend), _copy(backend, with_space=False)
        is_first = getattr(backend.pre_tokenizer, "prepend_scheme", None) == "first"
        self._spaced: set[After] = {"nothing"} if is_first else {"nothing", "special"}
        added = tokenizer.added_tokens_decoder
        self.stripping = {int(index) for index, token in added.items() if token.rstrip}
        self.special = {token.content: int(index) for index, token in added.items()}
        self._special_ids = frozenset(self.special.values())
        longest_first = sorted(self.special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def plain(self, text: str, after: After = "nothing") -> list[int]:
        """Tokenise a text in which nothing is special.

        Args:
            text: The text.
            after: What stands before it.

        Raises:
            TemplateError: The tokenizer finds a special token in the text all the same.
        """
        if not text:  # between the placeholders of a slide, of which a row has many
            return []
        tokenizer = self._begun if after in self._spaced else self._going_on
        ids = list(tokenizer.encode(text, add_special_tokens=False).ids)
        if not self._special_ids.isdisjoint(ids):
            raise TemplateError(f"the tokenizer cannot spell out a special token: {text[:100]!r}")
        return ids

    def marks(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Split a template's mark into special tokens with their ids, and the text between."""
        for part in filter(None, self._split.split(text)) if self.special else [text]:
            yield part, self.special.get(part)


def _copy(backend: Any, *, with_space: bool = True) -> Tokenizer:
    """Copy a tokenizer without its special tokens, and without the space before a text if asked."""
    copied = Tokenizer(backend.model)
    normalizer, splitter = backend.normalizer, backend.pre_tokenizer
    if not with_space:
        if isinstance(normalizer, normalizers.Prepend):
            normalizer = None
        elif isinstance(normalizer, normalizers.Sequence):
            steps: Any = normalizer  # its types do not know that it can be gone through
            kept = [each for each in steps if not isinstance(each, normalizers.Prepend)]
            normalizer = normalizers.Sequence(kept)
        if isinstance(splitter, pre_tokenizers.Metaspace):
            splitter = pre_tokenizers.Metaspace(splitter.replacement, "never", splitter.split)
    if normalizer is not None:
        copied.normalizer = normalizer
    if splitter is not None:
        copied.pre_tokenizer = splitter
    return copied
