from pathlib import Path

import pytest
from shared_data import require_shared

from tcssa.slides import extract


@pytest.fixture(scope="session")
def cmu() -> Path:
    return require_shared("slides/cmu-1-small-region.svs")


@pytest.fixture(scope="session")
def lung() -> list[Path]:
    """Five of the lung cohort's slides."""
    return sorted(require_shared("cohorts/lung").glob("*.tif"))[:5]


@pytest.fixture(scope="session")
def cmu_job(cmu: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of one real slide; not to be written to."""
    job = tmp_path_factory.mktemp("cmu-job")
    report = extract([cmu], job)
    assert report.count("done") == 1
    return job


@pytest.fixture(scope="session")
def lung_job(lung: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of five slides; not to be written to."""
    job = tmp_path_factory.mktemp("lung-job")
    report = extract(lung, job)
    assert report.count("done") == len(lung)
    return job
