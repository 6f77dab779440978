"""Rankings and the metrics made of counts, beside scikit-learn's."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as theirs

from tcssa.statistics import metrics as ours
from tcssa.statistics.ranking import area, average_precision

# scores of a few levels, so that ties are many
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30).filter(
    lambda rows: len({positive for positive, _ in rows}) == 2
)


@given(ROWS)
def test_two_classes_with_ties_are_ranked_as_scikit_learn_does(
    rows: list[tuple[bool, int]],
) -> None:
    positive = np.array([positive for positive, _ in rows])
    scores = np.array([score / 5 for _, score in rows])
    assert area(positive, scores) == pytest.approx(theirs.roc_auc_score(positive, scores))
    expected = theirs.average_precision_score(positive, scores)
    assert average_precision(positive, scores) == pytest.approx(expected)


@given(st.integers(2, 5), st.integers(0, 1000))
def test_any_number_of_classes_scores_as_in_scikit_learn(num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, 20)])
    probs = rng.dirichlet(np.ones(num_classes), len(labels))
    predicted, classes = probs.argmax(axis=1), range(num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that are never predicted
        one_column = probs[:, 1] if num_classes == 2 else probs
        expected = {
            "auc": theirs.roc_auc_score(labels, one_column, multi_class="ovr"),
            "macro_f1": theirs.f1_score(labels, predicted, labels=classes, average="macro"),
            "weighted_kappa": theirs.cohen_kappa_score(labels, predicted, weights="quadratic"),
        }
    for name, value in expected.items():
        assert ours.METRICS[name](labels, probs) == pytest.approx(value), name


def test_a_class_that_lacks_or_is_alone_has_no_figure() -> None:
    probs = np.array([[0.2, 0.8], [0.3, 0.7]])
    assert ours.auc(np.array([1, 1]), probs) is None
    assert ours.auprc(np.array([1, 1]), probs) is None
    assert ours.weighted_kappa(np.array([1, 1]), probs) is None
