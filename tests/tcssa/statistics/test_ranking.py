"""Rankings beside scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as theirs

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
