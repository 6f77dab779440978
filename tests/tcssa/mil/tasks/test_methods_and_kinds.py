"""Every method with every kind of label, or a clear refusal."""

from pathlib import Path

import pytest
import torch
from factories import make_features, square
from torch import Tensor
from torch.nn import functional as F

from tcssa.errors import UsageError
from tcssa.mil.classifier.classifiers import (
    MethodFacts,
    build_classifier,
    load_classifier,
    require_learnable,
    save_classifier,
)
from tcssa.mil.methods import BagClassifier, BagsLogits, PlacedClassifier
from tcssa.mil.methods.pooling import MeanPooling
from tcssa.mil.methods.registry import METHODS
from tcssa.mil.settings import ModelSettings
from tcssa.mil.tasks import Classes, MilTask, Ordinal, Regression, Several, Survival
from tcssa.mil.tasks.prediction import Prediction

TASKS: dict[str, MilTask] = {
    "ordinal": Ordinal(("0", "1", "2")),
    "regression": Regression((2.0, 5.0), mean=4.0, sd=2.5),
    "survival": Survival(num_spans=3, edges=(1.0, 2.0)),
    "several": Several({"a": Classes(("x", "y")), "b": Ordinal(("0", "1", "2"))}),
}
TRUTHS = {
    "ordinal": [(0.0,), (2.0,)],
    "regression": [(1.5,), (7.0,)],
    "survival": [(0.5, 1.0), (9.0, 0.0)],
    "several": [(1.0, None), (0.0, 2.0)],
}
NAMES = ["tcssa", *(name for name in METHODS if not name.startswith("clam"))]


class OwnLoss(MeanPooling):
    """A user's method whose loss does not ask the task."""

    def loss(self, output: BagsLogits, labels: Tensor) -> Tensor:
        """Cross-entropy, whatever is learnt."""
        return F.cross_entropy(output.logits, labels)


def own_loss(feature_dim: int, num_classes: int) -> BagClassifier:
    return OwnLoss(feature_dim, num_classes, embed_dim=8)


def settings(name: str) -> ModelSettings:
    return ModelSettings(name=name, num_slots=4, hidden_dim=8, head_dim=8)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_method_learns_any_kind(name: str, kind: str) -> None:
    torch.manual_seed(0)
    task = TASKS[kind]
    model = build_classifier(settings(name), 16, task, None)
    slides = [Prediction("s", "c", task.label_of(truth), (), truth=truth) for truth in TRUTHS[kind]]
    labels = task.targets(slides)
    bags = [make_features(9, seed=1), make_features(12, seed=2)]
    coords = [square(9), square(12)]
    placed = isinstance(model, PlacedClassifier)
    output = model(bags, labels, coords) if placed else model(bags, labels)
    assert output.logits.shape == (2, len(task.outputs))
    loss = model.loss(output, labels)
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert len(task.values(output.logits[0].detach())) >= len(task.outputs)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", ["tcssa", "abmil"])
def test_a_checkpoint_says_what_its_outputs_are(name: str, kind: str, tmp_path: Path) -> None:
    task = TASKS[kind]
    model = build_classifier(settings(name), 16, task, "enc").eval()
    facts = MethodFacts(
        name=name, feature_dim=16, classes=task.outputs, encoder="enc", task=task.facts()
    )
    save_classifier(model, tmp_path / "c.safetensors", facts)
    loaded = load_classifier(tmp_path / "c.safetensors")
    assert loaded.task == task
    bags = [make_features(7)]
    assert loaded(bags).logits.equal(model(bags).logits)


@pytest.mark.parametrize("name", ["clam_sb", "clam_mb", f"{__name__}:own_loss"])
def test_a_loss_of_classes_is_refused_for_others(name: str) -> None:
    assert build_classifier(settings(name), 16, Classes(("x", "y")), None)
    with pytest.raises(UsageError, match="cannot learn labels of kind ordinal"):
        build_classifier(settings(name), 16, TASKS["ordinal"], None)


def labelled(task: MilTask, truths: list[tuple[float | None, ...]]) -> list[Prediction]:
    return [Prediction("s", "c", task.label_of(truth), (), truth=truth) for truth in truths]


@pytest.mark.parametrize("task", [Classes(("x", "y")), Ordinal(("x", "y"))])
def test_balanced_classes_weigh_the_same_however_rare(task: Classes) -> None:
    rare = labelled(task, [(0.0,), (0.0,), (0.0,), (1.0,)])
    weighted = task.weighted(rare)
    assert weighted.weights == (4 / 6, 4 / 2)
    outputs = torch.randn(4, len(task.outputs), generator=torch.Generator().manual_seed(0))
    targets = task.targets(rare)
    losses = task.losses(outputs, targets)
    expected = (losses[:3].mean() + losses[3]) / 2
    assert weighted.loss(outputs, targets) == pytest.approx(float(expected))
    probs = [Prediction("s", "c", row.label, task.values(out), truth=row.truth)
             for row, out in zip(rare, outputs, strict=True)]  # fmt: skip
    assert weighted.validation_loss(probs) == pytest.approx(float(expected), rel=1e-5)
    assert weighted.facts() == task.facts()


def test_each_target_is_balanced_by_its_own_frequencies() -> None:
    task = Several({"a": Classes(("x", "y")), "b": Classes(("0", "1", "2"))})
    rows = labelled(task, [(0.0, 2.0), (0.0, None), (1.0, 2.0), (0.0, 1.0)])
    weights = {name: part.weights for name, part in task.weighted(rows).tasks.items()}
    assert weights == {"a": (4 / 6, 4 / 2), "b": (0, 3 / 2, 3 / 4)}


@pytest.mark.parametrize("name", ["clam_sb", "dsmil"])
def test_losses_of_methods_know_the_weights(name: str) -> None:
    task = Classes(("x", "y"))
    rows = labelled(task, [(0.0,), (1.0,)])
    bags = [make_features(9, seed=1), make_features(12, seed=2)]
    losses = []
    for weights in ((), (0.5, 3.0)):
        torch.manual_seed(0)
        model = build_classifier(settings(name), 16, Classes(task.classes, weights), None).eval()
        labels = task.targets(rows)
        losses.append(float(model.loss(model(bags, labels), labels).detach()))
    assert losses[1] != pytest.approx(losses[0])


@pytest.mark.parametrize("kind", ["survival", "regression"])
def test_labels_without_classes_cannot_be_balanced(kind: str) -> None:
    with pytest.raises(UsageError, match=f"no meaning with --kind {kind}: it has no classes"):
        TASKS[kind].weighted([])


def test_a_loss_that_asks_no_task_takes_no_weights() -> None:
    name = f"{__name__}:own_loss"
    require_learnable(name, 16, Classes(("x", "y")))
    with pytest.raises(UsageError, match="has a loss of its own, in which --class-weights has no"):
        require_learnable(name, 16, Classes(("x", "y")), weighed=True)
    require_learnable("clam_sb", 16, Classes(("x", "y")), weighed=True)
