"""Which feature file a question's slide is."""

from pathlib import Path

import numpy as np
import pytest
from factories import write_bag

from tcssa.errors import (
    AmbiguousFeaturesError,
    MissingDataError,
    MissingFeaturesError,
    UsageError,
)
from tcssa.vqa.data.slide_index import SlideIndex
from tcssa.vqa.settings import SeveralSlides

UUID = "d4ff32cd-38cf-40ea-8213-45c2b100ac01"


def index(*names: str, several: SeveralSlides = "error") -> SlideIndex:
    return SlideIndex([Path("features") / name for name in names], Path("features"), several)


def test_a_path_of_another_machine_is_its_last_part() -> None:
    slides = index(f"TCGA-05-4244-01Z-00-DX1.{UUID}.h5")
    (found,) = slides.find(f"datasets/LUAD/h5_files/TCGA-05-4244-01Z-00-DX1.{UUID}.h5")
    assert found.name == f"TCGA-05-4244-01Z-00-DX1.{UUID}.h5"


def test_dx1_is_never_taken_for_dx10() -> None:
    slides = index("TCGA-05-4244-01Z-00-DX10.h5")
    with pytest.raises(MissingFeaturesError, match="DX10"):
        slides.find("TCGA-05-4244-01Z-00-DX1")


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (f"TCGA-05-4244-01Z-00-DX1.{UUID}.h5", "TCGA-05-4244-01Z-00-DX1.csv"),
        ("TCGA-05-4244-01Z-00-DX1.h5", f"TCGA-05-4244-01Z-00-DX1.{UUID}.svs"),
    ],
)
def test_the_uuid_may_be_missing_on_one_side(stored: str, asked: str) -> None:
    assert index(stored).find(asked)[0].name == stored


def test_another_uuid_is_another_slide() -> None:
    slides = index(f"TCGA-05-4244-01Z-00-DX1.{UUID}.h5")
    with pytest.raises(MissingFeaturesError):
        slides.find("TCGA-05-4244-01Z-00-DX1.00000000-0000-0000-0000-000000000000")


def test_two_files_of_one_slide_are_ambiguous() -> None:
    slides = index("a/S.h5", "b/S.pt")
    with pytest.raises(AmbiguousFeaturesError, match=r"a/S\.h5, features/b/S\.pt"):
        slides.find("S")


def test_a_patient_with_several_slides_needs_a_rule() -> None:
    names = ["TCGA-BH-A5IZ-01Z-00-DX2.h5", "TCGA-BH-A5IZ-01Z-00-DX1.h5"]
    with pytest.raises(AmbiguousFeaturesError) as caught:
        index(*names).find("TCGA-BH-A5IZ")
    assert caught.value.hint is not None
    dx1 = index(*names, several="dx1")
    assert dx1.find("TCGA-BH-A5IZ")[0].name == names[1]
    assert list(dx1.chosen) == ["TCGA-BH-A5IZ"]
    assert index(names[0]).find("TCGA-BH-A5IZ")[0].name == names[0]


def test_of_slidechat_s_variants_the_preferred_one_is_taken() -> None:
    stem = f"TCGA-05-4244-01Z-00-DX1.{UUID}"
    slides = index(*(f"{stem}_{i}_{size}.npy" for i in (0, 1) for size in (512, 1024)))
    assert slides.find("TCGA-05-4244-01Z-00-DX1.csv")[0].name == f"{stem}_0_1024.npy"
    with pytest.raises(AmbiguousFeaturesError):
        index(f"{stem}_0_512.npy", f"{stem}_1_512.npy").find(stem)


def test_a_folder_without_features_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        SlideIndex.from_folders([tmp_path])
    write_bag(tmp_path / "S.h5")
    assert SlideIndex.from_folders([tmp_path]).find("S")[0].name == "S.h5"


def test_several_folders_are_searched_all_the_way_down(tmp_path: Path) -> None:
    """A folder per cancer and another below it, as GTEx-TCGA-Embeddings is published."""
    first, second = tmp_path / "embeddings", tmp_path / "more"
    for folder, name in (
        ("TCGA-BR/TCGA-BR", "TCGA-A7-A0CJ"),
        ("TCGA-LUNG/TCGA-LUNG", "TCGA-05-4244"),
    ):
        (first / folder).mkdir(parents=True)
        for variant in ("0_1024", "1_512"):
            np.save(
                first / folder / f"{name}-01Z-00-DX1.{UUID}_{variant}.npy", np.ones((2, 4), "f4")
            )
    write_bag(second / "ACC" / "S.h5")
    slides = SlideIndex.from_folders([first, second])
    assert slides.find("./LUAD/TCGA-05-4244-01Z-00-DX1.csv")[0].name.endswith("_0_1024.npy")
    assert slides.find("TCGA-A7-A0CJ")[0].parent.name == "TCGA-BR"
    assert slides.find("S")[0].parent.name == "ACC"
    with pytest.raises(MissingFeaturesError, match=r"embeddings, .*more"):
        slides.find("T")


def test_a_slide_in_two_folders_is_refused(tmp_path: Path) -> None:
    write_bag(tmp_path / "a" / "S.h5")
    write_bag(tmp_path / "b" / "S.h5")
    with pytest.raises(UsageError, match=r"features of slide 'S': .*a/S\.h5 and .*b/S\.h5"):
        SlideIndex.from_folders([tmp_path])
    assert SlideIndex.from_folders([tmp_path / "a", tmp_path / "a"]).find("S")[0].name == "S.h5"
