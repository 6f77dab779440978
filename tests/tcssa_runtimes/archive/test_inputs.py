"""The feature files of an archive."""

from pathlib import Path

import pytest
from factories import write_bag

from tcssa.errors import MissingDataError, TableError, UsageError
from tcssa.features import BagRef
from tcssa_runtimes.archive.inputs import Shard, archive, read_manifest


def bags(folder: Path, *names: str) -> list[Path]:
    return [write_bag(folder / f"{name}.h5", num_patches=2) for name in names]


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_shards_together_are_the_archive_and_nearly_equal(count: int) -> None:
    bags = {name: BagRef(Path(f"{name}.h5")) for name in (f"s{number:02}" for number in range(17))}
    parts = [Shard.parse(f"{index}/{count}").of(bags) for index in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == list(bags)
    assert {name: bag for part in parts for name, bag in part.items()} == bags
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert Shard.parse(f" {count}/{count} ").suffix == f"-{count}-of-{count}"


def test_files_folders_and_patterns_are_sorted_by_slide_and_each_comes_once(
    tmp_path: Path,
) -> None:
    s1, s3 = bags(tmp_path / "one", "s1", "s3")
    s0, s2 = bags(tmp_path / "two", "s0", "s2")
    given = [tmp_path / "two", tmp_path / "*" / "s[13].h5", s3, s0]
    assert list(archive(given).values()) == [BagRef(path) for path in (s0, s1, s2, s3)]


def test_a_name_that_looks_like_a_pattern_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    odd, _ = bags(tmp_path, "s[1]", "s1")
    assert list(archive([odd]).values()) == [BagRef(odd)]
    odd.unlink()
    assert [bag.name for bag in archive([odd]).values()] == ["s1.h5"]


def test_paths_of_a_manifest_start_at_its_folder(tmp_path: Path) -> None:
    s1, s2 = bags(tmp_path / "data" / "bags", "s1", "s2")
    listed = tmp_path / "data" / "list.txt"
    listed.write_text(f"bags/s2.h5\n\n  {s1}  \r\n")
    assert read_manifest(listed) == [tmp_path / "data" / "bags" / "s2.h5", s1]
    assert list(archive([], listed).values()) == [BagRef(s1), BagRef(s2)]
    listed.write_text("bags/s1.h5\nbags/s3.h5\nbags\n")
    with pytest.raises(TableError) as caught:
        read_manifest(listed)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["line 2", "line 3"]


def test_what_cannot_be_an_archive_is_refused(tmp_path: Path) -> None:
    (first,) = bags(tmp_path / "one", "s1")
    (second,) = bags(tmp_path / "two", "s1")
    with pytest.raises(UsageError, match="two files are of slide 's1'"):
        archive([first, second])
    with pytest.raises(MissingDataError, match="nothing matches this pattern"):
        archive([tmp_path / "one" / "x*.h5"])
    with pytest.raises(MissingDataError, match="there is no such file"):
        archive([tmp_path / "three"])
    with pytest.raises(UsageError, match="no features were given"):
        archive([])
