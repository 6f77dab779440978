"""Lenient reading of written replies: the option that a human who grades would see in them.

The strict reading (`tcssa.vqa.answering.answer_parser`) takes a reply that is an answer and nothing
else. Here an answer may stand within sentences: "I would choose B, since …". What a reply denies
("not A") is no answer, and a reply that names two options is none either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tcssa.vqa.answering.answer_parser import parse_answer, without_thoughts
from tcssa.vqa.conversation import LETTERS

_LETTER = r"[(\[<{]?\s*(?:option\s+|choice\s+)?[(\[<{]?([A-Za-z])(?![\w'’-])"
_IS = r"(?:\s+(?:is|was|be|would\s+be|should\s+be|must\s+be|is\s+most\s+likely))?\s*[:=：]?\s*"
_STATED = re.compile(
    rf"(?:\banswer|答案)(?:\s+to\s+the\s+question)?(?:\s+(?:choice|option|letter))?(?:{_IS}|[是为])"
    rf"(?:most\s+likely\s+|probably\s+|therefore\s+)?{_LETTER}",
    re.IGNORECASE,
)
"""What is said to be the answer."""
_FINAL = re.compile(rf"\bfinal\s+answer{_IS}{_LETTER}", re.IGNORECASE)
_LABEL = re.compile(r"[(\[]?([A-Za-z])\s*(?:[)\].:,;/、：]|\s[-–—]\s|\s*$)")
"""A letter that begins a reply as a label."""
_ALONE = re.compile(r"(?<![\w'’-])([A-Z])(?![\w'’]|-\w)")
"""A capital letter that is a word of its own."""
_ARTICLE = re.compile(r"A\s+(?!is\b|was\b|because\b|since\b|as\b|seems\b|would\b|or\b|and\b)[a-z]")
"""The article A before a word; before a verb it is option A."""
_DENIED = re.compile(
    r"\b(?:not|no|nor|neither|never|without|cannot\s+be|isn['’]?t|aren['’]?t|rather\s+than|"
    r"instead\s+of|unlike|excludes?|excluding|rules?\s+out|ruling\s+out|unlikely|absence\s+of)\s+"
    r"(?:\w+\s+){0,2}[(\[\"'“]*$",
    re.IGNORECASE,
)
"""What stands before something that a reply denies."""
_WRONG = re.compile(
    r"^[)\].:\"'”]*\s*(?:is|are|was|can\s+be|seems?)\s+"
    r"(?:not|incorrect|wrong|unlikely|excluded|ruled\s+out|less\s+likely)\b",
    re.IGNORECASE,
)
"""What stands behind it."""
_MOST = 20_000
"""Characters of a reply that are read; nobody grades a longer one."""


def parse_leniently(text: str, options: Sequence[str]) -> int | None:
    """Return the option that a human would see in a reply, counted from 0; None if none or several.

    Where the strict reading finds an option, it is that one. Otherwise, in this order: the last
    "final answer"; what is said to be the answer; a letter that stands as a label in front; the
    letters and the options' texts that stand in the reply and are not denied, if all mean one
    option.

    Args:
        text: The reply.
        options: The options, in order.
    """
    strict = parse_answer(text, options)
    if strict is not None:
        return strict
    thought = without_thoughts(text)
    if thought is None:
        return None
    reply = " ".join(thought[:_MOST].split())
    for pattern in (_FINAL, _STATED):
        stated = [
            index
            for found in pattern.finditer(reply)
            if (index := _stated(found, reply, len(options))) is not None
        ]
        if stated and (pattern is _FINAL or len(set(stated)) == 1):
            return stated[-1]
        if stated:
            return None
    named = _named_texts(reply, options)
    label = _label(reply, len(options))
    if label is not None and named <= {label}:
        return label
    named |= _letters(reply, len(options))
    return named.pop() if len(named) == 1 else None


def _stated(found: re.Match[str], reply: str, num_options: int) -> int | None:
    """Return the option of a letter that is said to be the answer; a small ``a`` is an article."""
    letter, behind = found[1], reply[found.end(1) :]
    if letter.islower() and re.match(r"\s+\w", behind):
        return None
    if letter == "A" and _ARTICLE.match(reply, found.start(1)):
        return None
    return _index(letter, num_options)


def _label(reply: str, num_options: int) -> int | None:
    """Return the option of the label in front, unless another letter follows it."""
    found = _LABEL.match(reply)
    if found is None or (found[1].islower() and found[0].rstrip()[-1] not in ")].:"):
        return None
    index = _index(found[1], num_options)
    return index if _letters(reply, num_options) <= {index} else None


def _letters(reply: str, num_options: int) -> set[int]:
    """Return the options whose capital letters stand in a reply and are not denied."""
    found = set()
    for match in _ALONE.finditer(reply):
        index = _index(match[1], num_options)
        pronoun = match[1] == "I" and num_options > LETTERS.index("I")
        if index is None or pronoun or _ARTICLE.match(reply, match.start()):
            continue
        if not _is_denied(reply, match.start(), match.end()):
            found.add(index)
    return found


def _named_texts(reply: str, options: Sequence[str]) -> set[int]:
    """Return the options whose text stands in a reply as whole words and is not denied.

    A text within a longer option's text that stands there ("carcinoma" in "lobular carcinoma") is
    not meant.
    """
    lower = reply.lower()
    found: set[int] = set()
    taken: list[tuple[int, int]] = []
    plain = [" ".join(option.lower().split()).strip(" .") for option in options]
    for index in sorted(range(len(options)), key=lambda i: -len(plain[i])):
        if not plain[index] or plain.count(plain[index]) > 1:
            continue
        for match in re.finditer(rf"(?<!\w){re.escape(plain[index])}(?!\w)", lower):
            start, end = match.span()
            if any(begin <= start and end <= close for begin, close in taken):
                continue
            taken.append((start, end))
            if len(plain[index]) == 1 and plain[index].isalpha():
                continue  # an option called A: its letter is looked for in capitals
            if not _is_denied(reply, start, end):
                found.add(index)
    return found


def _is_denied(reply: str, start: int, end: int) -> bool:
    before = re.split(r"[.;!?]\s|\bbut\b", reply[max(0, start - 60) : start])[-1]
    return bool(_DENIED.search(before) or _WRONG.match(reply[end : end + 40]))


def _index(letter: str, num_options: int) -> int | None:
    index = LETTERS.index(letter.upper())
    return index if index < num_options else None
