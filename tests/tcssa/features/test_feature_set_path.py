"""The address of a bag."""

import pickle
from pathlib import Path

import pytest

from tcssa.errors import FeatureFileError
from tcssa.features.feature_set_path import BagRef, choose_set


@pytest.mark.parametrize(
    ("address", "path", "name"),
    [
        ("job/S.h5", "job/S.h5", None),
        ("job/S.h5::uni", "job/S.h5", "uni"),
        ("job::uni/S.h5", "job/S.h5", "uni"),
        ("job::uni", "job", "uni"),
        ("a::b/job/S.h5::uni", "a::b/job/S.h5", "uni"),
        ("::uni/S.h5", "::uni/S.h5", None),
        ("job::/S.h5", "job::/S.h5", None),
    ],
)
def test_an_address_names_a_path_and_maybe_a_set(address: str, path: str, name: str | None) -> None:
    assert BagRef.parse(address) == BagRef(Path(path), name)


def test_what_is_shown_is_read_again_and_keeps_the_name_of_the_slide() -> None:
    ref = BagRef(Path("job/S.1.h5"), "uni")
    assert str(ref) == "job::uni/S.1.h5"
    assert BagRef.parse(str(ref)) == ref
    assert (ref.slide_id, ref.name, ref.file) == ("S.1", "S.1.h5::uni", Path("job/S.1.h5"))


@pytest.mark.parametrize("name", ["S.h5", "S", "S.1.h5", ".h5", ".S.h5", "S..h5", "a b.pt"])
def test_names_are_those_of_paths(name: str) -> None:
    for path in (Path(name), Path("/", name), Path("job", name)):
        ref = BagRef(path)
        assert (ref.slide_id, ref.name, ref.path, ref.address) == (path.stem, name, path, path)
        assert pickle.loads(pickle.dumps(ref)) == ref == BagRef.within(str(path.parent), name, None)


def test_a_path_that_exists_is_taken_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "S.h5::uni"
    odd.touch()
    assert BagRef.parse(odd) == BagRef(odd)


def test_a_set_is_chosen_where_only_one_can_be_meant() -> None:
    file = Path("job/S.h5")
    assert choose_set(BagRef(file), ["uni"]) == "uni"
    assert choose_set(BagRef(file, "conch"), ["uni", "conch"]) == "conch"
    for ref, sets, said in (
        (BagRef(file), [], "holds no patch features"),
        (BagRef(file), ["uni", "conch"], "several sets of features: conch, uni"),
        (BagRef(file, "phikon"), ["uni"], "no features 'phikon'"),
    ):
        with pytest.raises(FeatureFileError, match=said):
            choose_set(ref, sets)
