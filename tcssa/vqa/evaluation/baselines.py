"""Baselines: scores of answering without looking at the slide, on the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tcssa.vqa.conversation import LETTERS, Question, same_words
from tcssa.vqa.evaluation.metrics import Record, Scores, score


@dataclass(frozen=True)
class Baseline:
    """A rule that answers without a slide."""

    name: str
    """``majority_letter``, ``majority_option_text``, ``longest_option``."""
    rule: str
    """The rule in words, such as ``always B``."""
    fitted_on: str
    """``nothing``, ``training rows``, or ``these rows``: then it knows the answers it is scored on,
    which is generous to the baseline."""
    scores: Scores


def baselines(
    questions: Sequence[Question], *, train: Sequence[Question] | None = None, seed: int = 0
) -> list[Baseline]:
    """Score every baseline on the questions that have options.

    Args:
        questions: The rows to answer; open questions are left out.
        train: Rows of the training split, to fit on; None fits on the questions themselves.
        seed: Seed of the bootstrap.

    Returns:
        One baseline for each rule; none if no question has options.
    """
    asked = [question for question in questions if question.answer is not None]
    if not asked:
        return []
    known = [question for question in train or asked if question.answer is not None]
    fitted_on = "training rows" if train is not None else "these rows"
    letter = _commonest(str(question.answer) for question in known)
    frequency = Counter(same_words(question.answer_text) for question in known)
    rules: list[tuple[str, str, str, Callable[[Question], int | None]]] = [
        ("majority_letter", f"always {letter}", fitted_on, lambda q: _letter_index(q, letter)),
        (
            "majority_option_text",
            "the option whose text is right most often",
            fitted_on,
            _most_frequent(frequency),
        ),
        ("longest_option", "the longest option", "nothing", _longest),
    ]
    return [
        Baseline(name, rule, fitted, score([_record(q, choose(q)) for q in asked], seed=seed))
        for name, rule, fitted, choose in rules
    ]


def _record(question: Question, chosen: int | None) -> Record:
    return Record(
        row_id=question.row_id,
        slide=question.slide,
        answer_index=question.answer_index,
        predicted_index=chosen,
        status="answered" if chosen is not None else "invalid",
        categories=question.categories,
    )


def _letter_index(question: Question, letter: str) -> int | None:
    index = LETTERS.index(letter)
    return index if index < len(question.options) else None


def _longest(question: Question) -> int:
    return max(range(len(question.options)), key=lambda i: (len(question.options[i]), -i))


def _most_frequent(frequency: Counter[str]) -> Callable[[Question], int]:
    """Return a rule that chooses the option whose text is most often right."""

    def choose(question: Question) -> int:
        texts = [same_words(option) for option in question.options]
        return max(range(len(texts)), key=lambda i: (frequency[texts[i]], -i))

    return choose


def _commonest(values: Iterable[str]) -> str:
    """Return the most frequent value; of equals the first in the alphabet."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))
