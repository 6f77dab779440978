"""Joining labels with features, and everything that can be wrong with either."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from cohorts import small_run, write_cohort
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
from tcssa.mil.training.train import train
from tcssa.reporter import Silent


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


def test_features_without_a_label_are_counted(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    assert read_cohort(cohort).readings == []
    write_bag(cohort.features / "extra.h5")
    (reading,) = read_cohort(cohort).readings
    assert reading == (
        "1 of 7 feature files are of slides that the table does not name, not used: extra"
    )


def test_features_of_a_slide_whose_label_is_empty_are_of_a_named_slide(
    cohort: CohortSettings,
) -> None:
    assert cohort.features is not None
    assert cohort.labels is not None
    write_bag(cohort.features / "TCGA-AA-0000-01Z-00-DX1.1234ABCD-1234-1234-1234-123456789ABC.h5")
    with cohort.labels.open("a") as table:
        table.write("p9,TCGA-AA-0000-01Z-00-DX1,\n")
    read = read_cohort(cohort.model_copy(update={"skip_missing": True}))
    assert list(read.skipped) == ["TCGA-AA-0000-01Z-00-DX1"]
    assert not [reading for reading in read.readings if "not used" in reading]


def test_patients_with_slides_of_different_labels_are_counted(cohort: CohortSettings) -> None:
    assert cohort.labels is not None
    rows = cohort.labels.read_text().replace("p01,s01", "p00,s01")
    cohort.labels.write_text(rows)
    (reading,) = read_cohort(cohort).readings
    assert reading == "1 of 5 patients have slides of different labels: p00"


def test_patches_of_several_widths_are_told(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    for path in cohort.features.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["features"].attrs["params"] = json.dumps({"mpp": 0.5, "patch_size": 224})
    assert read_cohort(cohort).mixed_widths() is None
    with h5py.File(cohort.features / "s00.h5", "r+") as file:
        file["features"].attrs["params"] = json.dumps({"mpp": 1.0, "patch_size": 224})
    mixed = read_cohort(cohort).mixed_widths()
    assert mixed is not None
    assert "112 µm in 5 slides (s01, s02, s03 …), 224 µm in 1 slide (s00)" in mixed


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


def test_barcodes_find_their_features_without_the_uuid(cohort: CohortSettings) -> None:
    assert cohort.labels is not None
    assert cohort.features is not None
    text = cohort.labels.read_text()
    for i in range(6):
        barcode = f"TCGA-55-A48{i}-01Z-00-DX1"
        bag = cohort.features / f"s{i:02d}.h5"
        bag.rename(cohort.features / f"{barcode}.0867DC6A-1111-2222-3333-444455556666.h5")
        text = text.replace(f"s{i:02d}", barcode)
    cohort.labels.write_text(text)
    read = read_cohort(cohort)
    assert [slide.num_patches for slide in read.slides] == [20, 21, 22, 23, 24, 25]
    assert "6 names found among the features by the barcode" in read.readings[-1]


def test_names_that_do_not_match_are_shown_side_by_side(cohort: CohortSettings) -> None:
    assert cohort.features is not None
    for bag in cohort.features.iterdir():
        bag.rename(bag.with_stem(f"{bag.stem}.0A1B-22"))
    for skip_missing in (False, True):
        with pytest.raises(MissingDataError) as caught:
            read_cohort(cohort.model_copy(update={"skip_missing": skip_missing}))
        said = "6 labels (s00, s01, s02 …), 6 files (s00.0A1B-22, s01.0A1B-22, s02.0A1B-22 …)"
        assert said in str(caught.value)
        assert "nearest: 's00' and 's00.0A1B-22'" in str(caught.value)
        assert str(caught.value.hint).startswith("the names do not match")
        assert "--skip-missing" not in str(caught.value.hint)
    (cohort.features / "s00.0A1B-22.h5").rename(cohort.features / "s00.h5")
    with pytest.raises(MissingDataError, match=r"5 of 6 .* nearest: 's01' and 's01\.0A1B-22'"):
        read_cohort(cohort)


def test_slides_without_a_label_are_left_out_by_name(cohort: CohortSettings) -> None:
    assert cohort.labels is not None
    cohort.labels.write_text(cohort.labels.read_text().replace("s03,b", "s03,NA"))
    read = read_cohort(cohort.model_copy(update={"skip_missing": True}))
    assert read.skipped == {"s03": "the label is missing ('NA')"}
    assert (len(read.slides), read.classes) == (5, ["a", "b"])


def test_the_order_of_rows_changes_nothing_that_is_learnt(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path, num_slides=12)
    assert cohort.labels is not None
    header, *rows = cohort.labels.read_text().splitlines()
    weights, tables = [], []
    for name, order in (("a", rows), ("b", rows[::-1])):
        cohort.labels.write_text("\n".join([header, *order]) + "\n")
        train(small_run(cohort, epochs=1), tmp_path / name, Silent())
        checkpoints = (tmp_path / name / f"fold-{i}" / "checkpoint.safetensors" for i in range(3))
        weights.append([path.read_bytes() for path in checkpoints])
        tables.append((tmp_path / name / "predictions.csv").read_bytes())
    assert weights[0] == weights[1]
    assert tables[0] == tables[1]
