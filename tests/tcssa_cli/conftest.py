"""Running commands as a user does, within this process."""

from pathlib import Path

import pytest
from cohorts import write_cohort
from command_line import SMALL, Outcome, Run

from tcssa_cli.main import run


@pytest.fixture
def tcssa(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line; arguments may be paths and numbers."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort and a run trained on it by the command."""
    folder = tmp_path_factory.mktemp("trained")
    cohort = write_cohort(folder)
    arguments = ["train-mil", "--labels", cohort.labels, "--features", cohort.features, *SMALL]
    assert run([str(a) for a in [*arguments, "--batch-size", 2, "--out", folder / "run"]]) == 0
    return folder
