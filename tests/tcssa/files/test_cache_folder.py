import os
from pathlib import Path

import pytest

from tcssa.files.cache_folder import keep_within


def test_what_was_used_longest_ago_goes_first_and_what_was_just_made_stays(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abcd"]
    for age, path in enumerate(files):
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))  # d is the oldest
    gone = tmp_path / "gone"
    assert keep_within([*files, gone], 40, files[3]) == []
    assert keep_within([*files, gone], 25, files[3]) == [files[2], files[1]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]
    assert keep_within(files, 0, files[3]) == [files[0]]
    assert files[3].exists()


def test_a_cache_that_may_only_be_read_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(self)

    monkeypatch.setattr(Path, "unlink", deny)  # the modes of a folder do not hold for root
    (tmp_path / "a").write_bytes(bytes(10))
    assert keep_within([tmp_path / "a"], 0, tmp_path / "new") == []
