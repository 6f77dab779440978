"""Finding bags in folders."""

from pathlib import Path

import pytest
from factories import write_bag
from shared_data import require_shared

from tcssa.errors import MissingDataError, UsageError
from tcssa.features import find_all_bags, find_bags, index_bags


def test_files_and_folders_are_gathered(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_bag(tmp_path / "folder" / f"{name}.h5")
    lone = write_bag(tmp_path / "c.h5")
    (tmp_path / "folder" / "notes.txt").touch()
    (tmp_path / "folder" / ".a.h5.host.1.tcssa-tmp").touch()
    assert [bag.slide_id for bag in find_bags([tmp_path / "folder", lone])] == ["a", "b", "c"]
    twice = find_bags([tmp_path / "folder", tmp_path / "folder" / "a.h5"])
    assert [bag.slide_id for bag in twice] == ["a", "b"]


def test_a_job_folder_stands_for_its_features() -> None:
    interop = require_shared("interop")
    expected = ["CMU-1-Small-Region", "LC-001c11"]
    assert list(index_bags(interop / "trident/job")) == expected
    assert list(index_bags(interop / "stamp/job")) == expected
    clam = index_bags(interop / "clam/feats")
    assert list(clam) == expected
    assert {bag.path.parent.name for bag in clam.values()} == {"h5_files"}  # they have coordinates


def test_a_job_of_several_encoders_is_ambiguous(tmp_path: Path) -> None:
    for encoder in ("uni", "conch"):
        write_bag(tmp_path / "20x" / f"features_{encoder}" / "s.h5")
    with pytest.raises(UsageError, match=r"features_conch.*features_uni"):
        index_bags(tmp_path)


def test_two_files_of_one_slide_are_named(tmp_path: Path) -> None:
    write_bag(tmp_path / "s.h5")
    write_bag(tmp_path / "s.hdf5")
    with pytest.raises(UsageError, match="two files are of slide 's'"):
        index_bags(tmp_path)


def test_empty_and_missing_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="holds no feature files"):
        index_bags(tmp_path)
    with pytest.raises(MissingDataError, match="no such file"):
        find_bags([tmp_path / "nowhere"])


def test_all_folders_below_are_searched_and_of_a_job_its_features(tmp_path: Path) -> None:
    write_bag(tmp_path / "top.h5")
    write_bag(tmp_path / "a" / "b" / "c" / "deep.h5")
    write_bag(tmp_path / "job" / "20x" / "features_uni" / "s.h5")
    write_bag(tmp_path / "job" / "20x" / "patches" / "s_patches.h5")
    write_bag(tmp_path / ".hidden" / "h.h5")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    names = [bag.slide_id for bag in find_all_bags([tmp_path])]
    assert names == ["deep", "s", "top"]
    write_bag(tmp_path / "job" / "20x" / "features_conch" / "s.h5")
    with pytest.raises(UsageError, match=r"features_conch.*features_uni"):
        find_all_bags([tmp_path])
    with pytest.raises(MissingDataError, match="no such file"):
        find_all_bags([tmp_path / "nowhere"])
