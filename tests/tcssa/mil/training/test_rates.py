"""The course of the learning rate."""

import pytest
import torch
from factories import make_compressor

from tcssa.mil.classifier.slide_classifier import ClassifierConfig, SlideClassifier
from tcssa.mil.methods import build_method
from tcssa.mil.training.rates import paced, set_rates


def test_salience_learns_at_its_own_pace_and_all_weights_learn() -> None:
    model = SlideClassifier(make_compressor(salience=True), ClassifierConfig(classes=["a", "b"]))
    optimiser = torch.optim.AdamW(paced(model, 3.0), lr=1.0)
    set_rates(optimiser, 1e-3, done=0.1)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    salience = model.compressor.router.salience
    assert salience is not None
    assert len(rates) == len(list(model.parameters()))
    plain = rates[id(model.head.out.weight)]
    for name, parameter in model.named_parameters():
        pace = 3 if name.startswith("compressor.router.salience") else 1
        assert rates[id(parameter)] == pytest.approx(plain * pace), name
    assert len(list(salience.parameters())) == 2


@pytest.mark.parametrize(("done", "share"), [(0.0, 0.01), (0.05, 0.507), (0.5, 0.5), (1.0, 0.0)])
def test_the_rate_rises_and_falls_as_a_cosine(done: float, share: float) -> None:
    optimiser = torch.optim.AdamW(paced(build_method("abmil", 8, 2), 3.0), lr=1.0)
    set_rates(optimiser, 2e-3, done)
    assert [group["lr"] / 2e-3 for group in optimiser.param_groups] == pytest.approx(
        [share], abs=2e-3
    )
