"""Parser of written replies: the option that a reply names, if any.

Strict on purpose: a reply counts only if it can be read in one way. "A tumor is seen" begins with
an English article, not with option A; two letters are no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tcssa.vqa.conversation import LETTERS, same_words

# up to the end where it is not closed: else each of many is searched for its end in vain
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)
_PREFIX = re.compile(
    r"^(?:(?:so|therefore|thus|hence),?\s+)?"
    r"(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice)"
    r"(?:\s+is)?\s*(?::|=)?\s*(?:option\s+)?",
    re.IGNORECASE,
)
_LETTER = r"[(\[]?\s*([A-Z])\s*[)\].:]*"
_ALONE = re.compile(rf"^{_LETTER}\s*$")
_LABELLED = re.compile(r"^(?:[(\[]([A-Z])[)\]]|([A-Z])[).:])[.:]?\s+(.+)$", re.DOTALL)


def parse_answer(text: str, options: Sequence[str]) -> int | None:
    """Return the option that a reply names, counted from 0; None unless it names exactly one.

    Recognised are a letter alone (``B``, ``(B)``, ``b.``), a letter with its option's text
    (``B. Lobular``), an option's text alone, and each of these after ``Answer:`` or ``The answer
    is``. A reasoning model's ``<think>`` block is skipped.

    Args:
        text: The reply.
        options: The options, in order.
    """
    thought = without_thoughts(text)
    # runs of spaces, which may be long, would be matched in every way that they can be divided
    reply = " ".join((thought or "").split())
    if not reply:
        return None
    stripped = _PREFIX.sub("", reply, count=1).strip()
    for candidate in dict.fromkeys((reply, stripped)):
        found = _read(candidate, options)
        if found is not None:
            return found
    return None


def without_thoughts(text: str) -> str | None:
    """Return a reply without its ``<think>`` blocks and Markdown; None if it came to no answer."""
    if not all(thought[1] for thought in _THOUGHT.finditer(text)):
        return None
    return _plain_marks(_THOUGHT.sub(" ", text))


def _read(reply: str, options: Sequence[str]) -> int | None:
    # a lower-case letter counts only where it is all there is
    alone = _ALONE.match(reply.upper() if len(re.sub(r"\W", "", reply)) == 1 else reply)
    if alone:
        return _index(alone[1], options)
    texts = [same_words(option) for option in options]
    written = same_words(reply)
    same = [i for i, option in enumerate(texts) if option == written]
    if same:
        return same[0] if len(same) == 1 else None
    labelled = _LABELLED.match(reply)
    if labelled is None:
        return None
    index = _index(labelled[1] or labelled[2], options)
    rest = same_words(labelled[3])
    # the text behind the letter must be that option's, alone or as the beginning of more
    if index is None or not (rest == texts[index] or rest.startswith(texts[index] + " ")):
        return None
    return index


def _index(letter: str, options: Sequence[str]) -> int | None:
    index = LETTERS.index(letter)
    return index if index < len(options) else None


def _plain_marks(text: str) -> str:
    """Remove Markdown emphasis, quotation marks and LaTeX boxes."""
    return re.sub(r"[*`\"“”]+|\\boxed\{|\}", "", text)
