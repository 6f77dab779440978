"""Commands that read features take addresses of them, which are copied here first."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from command_line import Run


@pytest.fixture
def bucket(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the address of the trained run's features in an object store."""
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    for path in (trained / "features").glob("*.h5"):
        files.pipe(f"/bucket/job/{path.name}", path.read_bytes())
    yield "memory://bucket/job"
    files.rm("/bucket", recursive=True)


def test_eval_scores_a_cohort_behind_an_address(
    tcssa: Run, trained: Path, tmp_path: Path, bucket: str
) -> None:
    found = []
    for name, features in (("here", trained / "features"), ("there", bucket)):
        done = tcssa(
            "eval", trained / "run", "--labels", trained / "labels.csv", "--features", features,
            "--allow-overlap",
            "--out", tmp_path / name,
        )  # fmt: skip
        assert done.code == 0, done.stderr
        found.append((tmp_path / name / "predictions.csv").read_bytes())
    assert found[0] == found[1]


def test_heatmap_draws_slides_behind_an_address(
    tcssa: Run, trained: Path, tmp_path: Path, bucket: str
) -> None:
    names = {path.stem for path in (trained / "features").glob("*.h5")}
    for name in sorted(names)[2:]:  # two are enough to draw
        fsspec.filesystem("memory").rm(f"/bucket/job/{name}.h5")
    done = tcssa("heatmap", trained / "run", bucket, "--out", tmp_path / "maps")
    assert done.code == 0, done.stderr
    drawn = {path.stem for path in (tmp_path / "maps" / "evidence").glob("*.csv")}
    assert drawn == set(sorted(names)[:2])
