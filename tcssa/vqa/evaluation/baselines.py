"""Baselines: scores of answering without looking at the slide, on the same rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
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
    """``nothing``, ``training rows``, or ``the other slides``: no rule knows the answers
    about the slide that it is asked about, and predicts nothing where no row is left."""
    scores: Scores


def baselines(
    questions: Sequence[Question], *, train: Sequence[Question] | None = None, seed: int = 0
) -> list[Baseline]:
    """Score every baseline on the questions that have options.

    Args:
        questions: The rows to answer; open questions are left out.
        train: Rows of the training split, to fit on; None fits on the questions about all other
            slides than the one that is asked about.
        seed: Seed of the bootstrap.

    Returns:
        One baseline for each rule; none if no question has options, and none that learns if there
        are no rows to learn from.
    """
    asked = [question for question in questions if question.answer is not None]
    if not asked:
        return []
    known = asked if train is None else [each for each in train if each.answer is not None]
    fitted_on = "the other slides" if train is None else "training rows"
    letters = _Counts(known, lambda question: str(question.answer), leave_out=train is None)
    texts = _Counts(known, lambda q: same_words(q.answer_text), leave_out=train is None)
    rules: list[tuple[str, str, str, Callable[[Question], int | None]]] = [
        (
            "majority_letter",
            _letters_said(letters, asked),
            fitted_on,
            lambda q: _letter_index(q, letters.commonest(q)),
        ),
        (
            "majority_option_text",
            "the option whose text is right most often",
            fitted_on,
            _most_frequent(texts),
        ),
    ]
    if not any(letters.num_rows(question) for question in asked):
        rules = []
    rules.append(("longest_option", "the longest option", "nothing", _longest))
    return [
        Baseline(name, rule, fitted, score([_record(q, choose(q)) for q in asked], seed=seed))
        for name, rule, fitted, choose in rules
    ]


class _Counts:
    """Counts how often each value is right, among the rows that a question may be answered from.

    Args:
        rows: The rows to learn from.
        value: Returns the value of a row.
        leave_out: Whether the rows of a question's own slide do not count.
    """

    def __init__(
        self, rows: Sequence[Question], value: Callable[[Question], str], *, leave_out: bool
    ) -> None:
        self.all = Counter(value(row) for row in rows)
        self.values = [value(row) for row in rows]
        self.about: defaultdict[str, set[int]] = defaultdict(set)
        """By slide the rows that are about it, alone or with others."""
        for number, row in enumerate(rows if leave_out else ()):
            for slide in row.slides:
                self.about[slide].add(number)

    def of(self, question: Question, value: str) -> int:
        """Return how often a value is right elsewhere than about a slide of the question."""
        own = sum(self.values[number] == value for number in self._own(question))
        return self.all[value] - own

    def num_rows(self, question: Question) -> int:
        """Count the rows that the question may be answered from."""
        return len(self.values) - len(self._own(question))

    def commonest(self, question: Question) -> str | None:
        """Return the value that is right most often; of equals the first in the alphabet.

        None if there is no row to learn from.
        """
        if not self.num_rows(question):
            return None
        return min(self.all, key=lambda value: (-self.of(question, value), value))

    def _own(self, question: Question) -> set[int]:
        """Return the rows that share a slide with a question."""
        return set[int]().union(*(self.about[slide] for slide in question.slides))


def _letters_said(letters: _Counts, asked: Sequence[Question]) -> str:
    """Describe the rule by the letters that it says, the most frequent first."""
    said = Counter(letters.commonest(question) for question in asked)
    names = [letter for letter, _ in said.most_common() if letter]
    return f"always {names[0]}" if len(names) == 1 else f"mostly {', then '.join(names)}"


def _record(question: Question, chosen: int | None) -> Record:
    return Record(
        row_id=question.row_id,
        slide=question.slide,
        answer_index=question.answer_index,
        predicted_index=chosen,
        status="answered" if chosen is not None else "invalid",
        categories=question.categories,
    )


def _letter_index(question: Question, letter: str | None) -> int | None:
    index = len(question.options) if letter is None else LETTERS.index(letter)
    return index if index < len(question.options) else None


def _longest(question: Question) -> int:
    return max(range(len(question.options)), key=lambda i: (len(question.options[i]), -i))


def _most_frequent(texts: _Counts) -> Callable[[Question], int | None]:
    """Return a rule that chooses the option whose text is most often right."""

    def choose(question: Question) -> int | None:
        if not texts.num_rows(question):
            return None
        counts = [texts.of(question, same_words(option)) for option in question.options]
        return max(range(len(counts)), key=lambda i: (counts[i], -i))

    return choose
