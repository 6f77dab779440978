"""Evidence for a class compared with slides of the other classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cohorts import write_cohort

from tcssa.errors import CheckpointError
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import CohortSlide, read_cohort
from tcssa.mil.evidence import Reference, evidence_of
from tcssa.mil.evidence.quantities import quantities_of
from tcssa.mil.evidence.reference import _SHARES, REFERENCE_FILE
from tcssa.mil.heatmaps.slide_map import SlideMap
from tcssa.mil.methods import BagClassifier, build_method
from tcssa.mil.tasks import Classes, MilTask, Ordinal, Regression, Several
from tcssa.reporter import Silent

STORE, CPU = BagStore(1 << 24), torch.device("cpu")
THREE = Classes(("a", "b", "c"))
TWO_TARGETS = Several({"kind": THREE, "grade": Ordinal(("0", "1", "2"))})


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[CohortSlide]:
    """Nine slides of three classes."""
    found = read_cohort(write_cohort(tmp_path_factory.mktemp("cohort"), 9)).slides
    labels = [index % 3 for index in range(9)]
    return [
        replace(slide, label=label, truth=(float(label),))
        for slide, label in zip(found, labels, strict=True)
    ]


def make_model(task: MilTask, name: str = "abmil") -> BagClassifier:
    torch.manual_seed(0)
    model = build_method(name, 16, len(task.outputs)).eval()
    model.task = task
    return model


def reference_of(model: BagClassifier, slides: list[CohortSlide]) -> Reference:
    return Reference.of(model, slides, STORE, CPU, Silent())


@pytest.mark.parametrize("name", ["abmil", "mean", "max", "dsmil"])
def test_evidence_sums_to_the_slide_s_quantity_less_the_mean_of_the_other_classes(
    name: str, slides: list[CohortSlide]
) -> None:
    model = make_model(THREE, name)
    found = reference_of(model, slides[1:])
    evidence = evidence_of(model, STORE.get(slides[0]).float())
    drawn = SlideMap.of(evidence, THREE, found)
    for index, (quantity, factors) in enumerate(quantities_of(THREE).items()):
        others = [slide for slide in slides[1:] if slide.label != index]
        logits = [evidence_of(model, STORE.get(slide)).logits for slide in others]
        mean = np.mean(logits, axis=0) @ factors
        assert found.sums[quantity] == pytest.approx(mean, abs=1e-4)
        total = drawn.evidence[quantity].sum()
        assert total == pytest.approx(evidence.logits @ factors - mean, abs=1e-4)


def test_each_target_is_compared_where_it_is_known_and_grades_with_nothing(
    slides: list[CohortSlide],
) -> None:
    rows = [replace(slide, truth=(slide.label, 0.0)) for slide in slides]
    rows[3] = replace(rows[3], truth=(None, 1.0))
    model = make_model(TWO_TARGETS)
    found = reference_of(model, rows)
    assert list(found.curves) == ["kind: a", "kind: b", "kind: c"]
    known = [row for row in rows if row.truth[0] not in (None, 1)]
    factors = quantities_of(TWO_TARGETS)["kind: b"]
    logits = [evidence_of(model, STORE.get(row)).logits @ factors for row in known]
    assert found.sums["kind: b"] == pytest.approx(np.mean(logits), abs=1e-4)
    evidence = evidence_of(model, STORE.get(slides[0]))
    compared, alone = (SlideMap.of(evidence, TWO_TARGETS, each) for each in (found, None))
    grades = "grade: higher grade"
    np.testing.assert_array_equal(compared.evidence[grades], alone.evidence[grades])


@pytest.mark.parametrize(
    ("task", "name"), [(Regression(), "abmil"), (THREE, "transmil")], ids=["numbers", "occlusion"]
)
def test_what_cannot_be_compared_stays_as_it_is(
    task: MilTask, name: str, slides: list[CohortSlide], tmp_path: Path
) -> None:
    found = reference_of(make_model(task, name), slides)
    assert found.curves == {}
    found.save(tmp_path)
    assert Reference.read(tmp_path, task) is None


def test_what_other_classes_have_too_has_no_evidence() -> None:
    """A model that knows tumour of b only: normal tissue speaks for a, on slides of both."""
    tumour, normal = 4 * [0.15], 8 * [0.05]
    attention = np.array(tumour + normal)
    on_b = attention * np.array(4 * [-10.0] + 8 * [5.0])
    on_a = attention * np.array(4 * [3.0] + 8 * [5.0])
    curve = np.interp(_SHARES, np.cumsum([0, *attention]), np.cumsum([0, *on_b]))
    shuffled = np.random.default_rng(0).permutation(12)
    found = Reference({"a": curve}).compared({"a": on_a[shuffled]}, attention[shuffled])["a"]
    is_tumour = shuffled < 4
    assert on_a[:4].max() < 0.46
    np.testing.assert_allclose(found[is_tumour], 0.15 * 13, atol=0.1)
    np.testing.assert_allclose(found[~is_tumour], 0, atol=0.1)


def test_patches_of_equal_attention_share_what_they_are_compared_with() -> None:
    curve = np.square(_SHARES)
    evidence = {"a": np.zeros(10)}
    found = Reference({"a": curve}).compared(evidence, np.full(10, 0.1))["a"]
    np.testing.assert_allclose(found, -0.1)


def test_the_reference_comes_back_from_the_run(slides: list[CohortSlide], tmp_path: Path) -> None:
    found = reference_of(make_model(THREE), slides)
    found.save(tmp_path)
    back = Reference.read(tmp_path, THREE)
    assert back is not None
    for name, curve in found.curves.items():
        np.testing.assert_array_equal(back.curves[name], curve)
    with pytest.raises(CheckpointError, match="other classes"):
        Reference.read(tmp_path, Classes(("a", "d")))
    Reference({"a": np.full(129, np.nan)}).save(tmp_path)
    with pytest.raises(CheckpointError, match="finite"):
        Reference.read(tmp_path, THREE)
    (tmp_path / REFERENCE_FILE).write_bytes(b"no tensors")
    with pytest.raises(CheckpointError):
        Reference.read(tmp_path, THREE)
