"""No patient on two sides, every class on each, every slide tested once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import require_shared

from tcssa.errors import MissingDataError, RunError, SplitError, TableError
from tcssa.features.tables import patient_of, site_of
from tcssa.mil.cohort.cohort import CohortSlide
from tcssa.mil.cohort.site_confounding import site_confound
from tcssa.mil.cohort.split_files import read_parts
from tcssa.mil.cohort.splits import Fold, make_folds, require_disjoint, write_splits
from tcssa.mil.settings import SplitSettings
from tcssa.mil.tasks import Classes


def slides_of(patients: list[tuple[int, int]]) -> list[CohortSlide]:
    """Slides of (label, number of slides) patients."""
    return [
        CohortSlide(f"p{p}-s{s}", f"p{p}", label, Path("x.h5"), 10)
        for p, (label, count) in enumerate(patients)
        for s in range(count)
    ]


@given(
    counts=st.lists(st.integers(1, 3), min_size=24, max_size=40),
    num_folds=st.integers(3, 6),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_folds_share_no_patient_and_test_every_slide_once(
    counts: list[int], num_folds: int, seed: int
) -> None:
    slides = slides_of([(i % 2, count) for i, count in enumerate(counts)])
    folds = make_folds(slides, Classes(("a", "b")), num_folds, seed)
    for fold in folds:
        sides = [{s.case_id for s in part} for part in (fold.train, fold.val, fold.test)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]
        assert len(fold.train) + len(fold.val) + len(fold.test) == len(slides)
    assert sorted(s.slide_id for f in folds for s in f.test) == sorted(s.slide_id for s in slides)


def test_a_class_with_one_patient_is_named() -> None:
    slides = slides_of([(0, 1)] * 10 + [(1, 4)])
    with pytest.raises(SplitError, match="class 'rare' has 1 patient, 5 folds need at least 5"):
        make_folds(slides, Classes(("common", "rare")), 5, 0)


def test_a_class_for_every_number_is_sent_to_regression() -> None:
    slides = slides_of([(i, 1) for i in range(12)])
    with pytest.raises(SplitError) as caught:
        make_folds(slides, Classes(tuple(f"{i}.5" for i in range(12))), 5, 0)
    assert "--kind regression" in str(caught.value.hint)


def test_a_planted_leak_is_named() -> None:
    one, two, three = slides_of([(0, 2), (1, 1)])
    with pytest.raises(SplitError, match="1 patient in both train and test: p0"):
        require_disjoint(Fold(train=[one], val=[three], test=[two]))


def test_the_table_of_folds_comes_back_and_may_not_change(tmp_path: Path) -> None:
    slides = slides_of([(i % 2, 1) for i in range(12)])
    folds = make_folds(slides, Classes(("a", "b")), 3, 0)
    write_splits(tmp_path / "splits.csv", slides, folds, ["a", "b"])
    assert read_parts(tmp_path / "splits.csv") == [parts_of(fold) for fold in folds]
    write_splits(tmp_path / "splits.csv", slides, folds, ["a", "b"])
    others = make_folds(slides, Classes(("a", "b")), 3, 1)
    with pytest.raises(RunError, match="the folds of this run's first start were others"):
        write_splits(tmp_path / "splits.csv", slides, others, ["a", "b"])
    given = make_folds(
        slides, Classes(("a", "b")), 9, 9, SplitSettings(files=tmp_path / "splits.csv")
    )
    assert [parts_of(fold) for fold in given] == [parts_of(fold) for fold in folds]


def parts_of(fold: Fold) -> dict[str, str]:
    return {s.slide_id: part for part in ("train", "val", "test") for s in getattr(fold, part)}


def two_classes(count: int = 20) -> list[CohortSlide]:
    return slides_of([(i % 2, 1) for i in range(count)])


def test_monte_carlo_draws_another_test_part_for_every_fold() -> None:
    settings = SplitSettings(scheme="monte-carlo", test_share=0.25, val_share=0.25)
    folds = make_folds(two_classes(40), Classes(("a", "b")), 4, 0, settings)
    assert [len(fold.test) for fold in folds] == [10] * 4
    assert all(10 <= len(fold.val) <= 15 for fold in folds)
    assert len({tuple(s.slide_id for s in fold.test) for fold in folds}) == 4


def test_repeats_divide_anew_and_test_every_slide_once_a_repeat() -> None:
    slides = two_classes()
    folds = make_folds(slides, Classes(("a", "b")), 5, 0, SplitSettings(repeats=2))
    assert len(folds) == 10
    for repeat in (folds[:5], folds[5:]):
        tested = sorted(s.slide_id for fold in repeat for s in fold.test)
        assert tested == sorted(s.slide_id for s in slides)
    assert parts_of(folds[0]) != parts_of(folds[5])


def at_sites(sites: list[str]) -> list[CohortSlide]:
    return [
        CohortSlide(f"p{i}", f"p{i}", i % 2, Path("x.h5"), 10, site) for i, site in enumerate(sites)
    ]


def test_a_site_is_whole_in_one_part() -> None:
    slides = at_sites([f"s{i % 12}" for i in range(60)])
    for fold in make_folds(slides, Classes(("a", "b")), 3, 0, SplitSettings(group_by="site")):
        sides = [{s.site for s in part} for part in (fold.train, fold.val, fold.test)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]


def test_slides_without_a_site_are_named() -> None:
    with pytest.raises(SplitError, match="the site of 12 slides is not known: p0-s0, p1-s0"):
        make_folds(two_classes(12), Classes(("a", "b")), 3, 0, SplitSettings(group_by="site"))


def test_a_site_that_gives_the_label_away_is_said() -> None:
    told = make_folds(at_sites(["even", "odd"] * 15), Classes(("a", "b")), 3, 0)
    confound = site_confound(told)
    assert confound is not None
    assert confound.gives_label_away
    assert (confound.right, confound.num_slides) == (30, 30)
    mixed = site_confound(make_folds(at_sites(["x", "x", "y", "y"] * 8), Classes(("a", "b")), 3, 0))
    assert mixed is not None
    assert not mixed.gives_label_away
    assert site_confound(make_folds(two_classes(), Classes(("a", "b")), 3, 0)) is None


def write_tables(folder: Path, tables: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in tables.items():
        (folder / name).write_text(text)
    return folder


CLAM = ",train,val,test\n0,p0-s0,p2-s0,p4-s0.svs\n1,p1-s0,p3-s0,p5-s0\n2,p6-s0,,\n"
PATHO_BENCH = (
    "case_id\tslide_id\tgrade\tfold_0\tfold_1\n"
    "p0\tp0-s0.svs\t0\ttrain\ttest\np1\tp1-s0.svs\t1\ttest\ttrain\n"
)


def test_clam_s_splits_are_read(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "splits", {"splits_0.csv": CLAM, "splits_0_bool.csv": "x\n"})
    (fold,) = make_folds(two_classes(), Classes(("a", "b")), 5, 0, SplitSettings(files=folder))
    assert [s.slide_id for s in fold.train] == ["p0-s0", "p1-s0", "p6-s0"]
    assert [s.slide_id for s in fold.val] == ["p2-s0", "p3-s0"]
    assert [s.slide_id for s in fold.test] == ["p4-s0", "p5-s0"]


def test_patho_bench_s_table_and_a_split_column_are_read(tmp_path: Path) -> None:
    (tmp_path / "k=2.tsv").write_text(PATHO_BENCH)
    assert read_parts(tmp_path / "k=2.tsv") == [
        {"p0-s0": "train", "p1-s0": "test"},
        {"p0-s0": "test", "p1-s0": "train"},
    ]
    (tmp_path / "one.csv").write_text("slide_id,split\np0-s0,training\np1-s0,test\n")
    assert read_parts(tmp_path / "one.csv") == [{"p0-s0": "train", "p1-s0": "test"}]


def test_splits_without_validation_get_one_from_training(tmp_path: Path) -> None:
    rows = [f"p{i}-s0,{'test' if i < 4 else 'train'}" for i in range(20)]
    (tmp_path / "splits.csv").write_text("slide_id,split\n" + "\n".join(rows) + "\n")
    settings = SplitSettings(files=tmp_path / "splits.csv", val_share=0.25)
    (fold,) = make_folds(two_classes(), Classes(("a", "b")), 5, 0, settings)
    assert [s.slide_id for s in fold.test] == [f"p{i}-s0" for i in range(4)]
    assert len(fold.val) == 4
    assert len(fold.train) == 12


def test_faulty_official_splits_are_met_with_what_is_wrong(tmp_path: Path) -> None:
    slides = two_classes()

    def folds_of(files: Path, skip_missing: bool = False) -> list[Fold]:
        settings = SplitSettings(files=files)
        return make_folds(slides, Classes(("a", "b")), 5, 0, settings, skip_missing=skip_missing)

    folder = write_tables(tmp_path / "unknown", {"splits_0.csv": CLAM.replace("p5-s0", "zz")})
    with pytest.raises(MissingDataError, match="names 1 slide without label or features: zz"):
        folds_of(folder)
    assert len(folds_of(folder, skip_missing=True)[0].test) == 1
    twice = write_tables(tmp_path / "twice", {"splits_0.csv": CLAM.replace("p5-s0", "p0-s0")})
    with pytest.raises(TableError, match="slide 'p0-s0' stands in both train and test"):
        folds_of(twice)
    (tmp_path / "both.csv").write_text("slide_id,fold_0\np0-s0,train\np0-s0.svs,test\n")
    with pytest.raises(TableError, match="line 3: slide 'p0-s0' stands in both train and test"):
        folds_of(tmp_path / "both.csv")
    (tmp_path / "nameless.csv").write_text("slide_id,split\np0-s0,train\n,test\n")
    with pytest.raises(TableError, match="line 3: names no slide"):
        folds_of(tmp_path / "nameless.csv")
    (tmp_path / "odd.csv").write_text("slide_id,split\np0-s0,later\n")
    with pytest.raises(TableError, match="line 2: 'later' is none of train, val, test"):
        folds_of(tmp_path / "odd.csv")
    with pytest.raises(TableError, match="holds neither"):
        folds_of(write_tables(tmp_path / "empty", {}))


def test_real_tables_are_read_and_a_planted_leak_is_found(
    tmp_path: Path,
) -> None:
    source = require_shared("splits")
    tables = {
        f"{part}.csv": (source / f"TC-SSA_nsclc_{part}.csv").read_text()
        for part in ("train", "val", "test")
    }
    (parts,) = read_parts(write_tables(tmp_path / "nsclc", tables))
    sides = {part: [n for n, p in parts.items() if p == part] for part in ("train", "val", "test")}
    assert {part: len(names) for part, names in sides.items()} == {
        "train": 849, "val": 106, "test": 97,
    }  # fmt: skip
    slides = [
        CohortSlide(name, patient_of(name), i % 2, Path("x.h5"), 10, site_of(name))
        for i, name in enumerate(parts)
    ]
    (fold,) = make_folds(slides, Classes(("a", "b")), 5, 0, SplitSettings(files=tmp_path / "nsclc"))
    assert (len(fold.train), len(fold.val), len(fold.test)) == (849, 106, 97)
    moved = next(s for s in fold.train if patient_of(s.slide_id) == "TCGA-33-A5GW")
    other = moved.slide_id.replace("DX2", "DX9")
    with (tmp_path / "nsclc" / "test.csv").open("a") as table:
        table.write(f"{other},1\n")
    slides.append(CohortSlide(other, moved.case_id, 1, Path("x.h5"), 10))
    with pytest.raises(SplitError, match="1 patient in both train and test: TCGA-33-A5GW"):
        make_folds(slides, Classes(("a", "b")), 5, 0, SplitSettings(files=tmp_path / "nsclc"))
