"""Options in every cyclic order: does the answer follow the option, or the letter?

With n options there are n orders; in order s the first option shown is the s-th. Every option
stands at every letter once, so a model that looks at options alone gives each letter equally often.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tcssa.vqa.answering.reply import Reply
from tcssa.vqa.conversation import LETTERS

T = TypeVar("T")


def shifted(options: Sequence[T], shift: int) -> list[T]:
    """Return the options in order ``shift``.

    Args:
        options: One item for each option.
        shift: Places by which the order is rotated; 1 begins with the second, -1 with the last.
    """
    return [options[(i + shift) % len(options)] for i in range(len(options))]


def unshifted(reply: Reply, shift: int, num_options: int) -> Reply:
    """Translate a reply to options in order ``shift`` into the order of the file.

    Args:
        reply: The reply to the options as they were shown.
        shift: The order in which they were shown.
        num_options: Number of options.
    """
    predicted = None if reply.predicted is None else (reply.predicted + shift) % num_options
    log_probs = None if reply.log_probs is None else tuple(shifted(reply.log_probs, -shift))
    return Reply(predicted, log_probs, reply.option_mass, reply.text)


def mean_choice(log_probs: Sequence[Sequence[float]]) -> int:
    """Return the option with the best mean log-probability over all orders, [orders][options]."""
    means = [statistics.fmean(column) for column in zip(*log_probs, strict=True)]
    return max(range(len(means)), key=means.__getitem__)


def position_bias(questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Measure how answers depend on where options stand.

    Args:
        questions: Each with ``num_options``, ``answer`` (index) and ``orders``: the prediction in
            each order, as an index into the file's options, or None.

    Returns:
        ``num_questions``, ``accuracy`` (mean over orders), ``consistency`` (share of questions
        whose orders all name the same option), and by letter: how often it was given (``share``),
        how often an answer that ignores letters would give it (``expected``), and the accuracy of
        the questions when the right option stood there. Without a question ``num_questions`` alone.
    """
    given: Counter[int] = Counter()
    right: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    num_asked: Counter[int] = Counter()
    consistent = 0
    for question in questions:
        n, answer, orders = question["num_options"], question["answer"], question["orders"]
        consistent += None not in orders and len(set(orders)) == 1
        for shift, predicted in enumerate(orders):
            place = (answer - shift) % n
            num_asked[place] += 1
            right[place] += predicted == answer
            if predicted is not None:
                given[(predicted - shift) % n] += 1
        for place in range(n):
            expected[place] += 1
    num_answers = sum(num_asked.values())
    if not num_answers:
        return {"num_questions": 0}
    return {
        "num_questions": len(questions),
        "accuracy": statistics.fmean(
            sum(p == q["answer"] for p in q["orders"]) / q["num_options"] for q in questions
        ),
        "consistency": consistent / len(questions),
        "letters": {
            LETTERS[place]: {
                "share": given[place] / num_answers,
                "expected": expected[place] / num_answers,
                "accuracy": right[place] / num_asked[place],
            }
            for place in sorted(num_asked)
        },
    }
