"""How a threshold is asked for."""

import pytest

from tcssa.config.settings import validate
from tcssa.errors import UsageError
from tcssa.mil.calibration.rule import ThresholdRule
from tcssa.mil.settings import TrainSettings


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("youden", ThresholdRule()),
        ("0.3", ThresholdRule(fixed=0.3)),
        ("sensitivity=0.95", ThresholdRule(sensitivity=0.95)),
        ("sensitivity=1", ThresholdRule(sensitivity=1.0)),
    ],
)
def test_it_is_read_as_it_is_written(text: str, rule: ThresholdRule) -> None:
    assert ThresholdRule.parse(text) == rule


@pytest.mark.parametrize("text", ["", "0", "1", "2", "nan", "specificity=0.9", "sensitivity=1.1"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="a threshold is youden, a probability such as"):
        validate(TrainSettings, {"threshold": text})


def test_a_file_may_hold_the_number() -> None:
    assert validate(TrainSettings, {"threshold": 0.25}).threshold == "0.25"
