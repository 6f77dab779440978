"""Joining labels with features, and everything that can be wrong with either."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from cohorts import write_cohort
from factories import write_bag

from tcssa.errors import (
    FeatureDimError,
    FeatureFileError,
    MissingDataError,
    NonFiniteFeatureError,
    TableError,
    UsageError,
)
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.settings import CohortSettings


@pytest.fixture
def cohort(tmp_path: Path) -> CohortSettings:
    return write_cohort(tmp_path, num_slides=6)


def test_slides_patients_and_classes_are_joined(cohort: CohortSettings) -> None:
    read = read_cohort(cohort)
    assert read.classes == ["a", "b"]
    assert [(s.slide_id, s.case_id, s.label) for s in read.slides[:2]] == [
        ("s00", "p00", 0),
        ("s01", "p01", 1),
    ]
    assert read.slides[3].num_patches == 23
    assert (read.feature_dim, read.encoder) == (16, "test_encoder")


def test_labels_of_unknown_slides_are_named_or_left_out(cohort: CohortSettings) -> None:
    assert cohort.labels is not None
    with cohort.labels.open("a") as table:
        table.write("p9,ghost,a\n")
    with pytest.raises(MissingDataError, match=r"1 of 7 .*ghost \(no feature file\)"):
        read_cohort(cohort)
    read = read_cohort(cohort.model_copy(update={"skip_missing": True}))
    assert read.skipped == {"ghost": "no feature file"}
    assert len(read.slides) == 6


def test_an_empty_bag_is_named(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    write_bag(cohort.features / "s02.h5", num_patches=0)
    with pytest.raises(MissingDataError, match=r"s02 \(no patches\)"):
        read_cohort(cohort)


def test_another_feature_length_is_named(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    path = write_bag(cohort.features / "s04.h5", feature_dim=12)
    with pytest.raises(FeatureDimError, match="D = 12, expected D = 16") as caught:
        read_cohort(cohort)
    assert caught.value.path == path


def test_another_encoder_is_named(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    write_bag(cohort.features / "s04.h5", encoder="other")
    with pytest.raises(UsageError, match=r"s04\.h5: features of encoder 'other'"):
        read_cohort(cohort)


def test_a_non_finite_feature_is_named_by_file_and_row(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    with h5py.File(cohort.features / "s03.h5", "r+") as file:
        file["features"][17, 5] = np.nan
    slide = read_cohort(cohort).slides[3]
    with pytest.raises(NonFiniteFeatureError, match=r"s03\.h5: .*row 17"):
        BagStore(0).get(slide)


def test_a_file_cut_in_half_is_named(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    path = cohort.features / "s01.h5"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FeatureFileError, match=r"s01\.h5: is not a readable HDF5 file"):
        read_cohort(cohort)


def test_one_class_only_is_refused(cohort: CohortSettings) -> None:
    assert cohort.labels is not None
    cohort.labels.write_text(cohort.labels.read_text().replace(",b\n", ",a\n"))
    with pytest.raises(TableError, match="all slides have one label, 'a'"):
        read_cohort(cohort)


def test_labels_and_features_must_be_given() -> None:
    with pytest.raises(UsageError, match="needs labels and features"):
        read_cohort(CohortSettings())


def test_numbered_classes_are_in_their_order(tmp_path: Path) -> None:
    rows = ["image_id,isup_grade"]
    for i, grade in enumerate(["10", "2", "0", "2"]):
        write_bag(tmp_path / "features" / f"s{i}.h5")
        rows.append(f"s{i},{grade}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    cohort = CohortSettings(labels=tmp_path / "labels.csv", features=tmp_path / "features")
    assert read_cohort(cohort).classes == ["0", "2", "10"]
