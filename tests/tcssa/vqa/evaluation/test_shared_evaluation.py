"""A benchmark shared by several processes: the bytes of one, whoever dies on the way."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from vqa_runs import write_slidebench, write_slides, write_tiny_run

from tcssa.crew.dispatcher import Worker
from tcssa.crew.local_processes import LocalProcess, LocalProcesses, cpu_seats
from tcssa.errors import RunError
from tcssa.reporter import Silent
from tcssa.vqa.evaluation.evaluate import ANSWERS_FILE, evaluate
from tcssa.vqa.evaluation.report import METRICS_FILE, Report
from tcssa.vqa.settings import EvalOptions

NUM_SLIDES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, features of five slides of six, and what one process says of them."""
    folder = tmp_path_factory.mktemp("shared")
    write_tiny_run(folder)
    write_slides(folder / "features", range(NUM_SLIDES - 1))
    write_slidebench(folder / "bench.csv", NUM_SLIDES)
    ask(folder, folder / "alone")
    return folder


def ask(
    folder: Path,
    out: Path,
    crew: LocalProcesses | None = None,
    reporter: Silent | None = None,
    **options: Any,
) -> Report:
    return evaluate(
        folder / "run", "slidebench-tcga", folder / "bench.csv", [folder / "features"],
        reporter or Silent(), EvalOptions(**options), device="cpu", out=out, crew=crew,
    )  # fmt: skip


def require_same_bytes(folder: Path, out: Path) -> None:
    for name in (ANSWERS_FILE, METRICS_FILE):
        assert (out / name).read_bytes() == (folder / "alone" / name).read_bytes()


def test_two_processes_end_with_the_bytes_of_one(folder: Path, tmp_path: Path) -> None:
    report = ask(folder, tmp_path, LocalProcesses(cpu_seats(2)))
    require_same_bytes(folder, tmp_path)
    assert sum(share.num_slides for share in report.shares) == NUM_SLIDES - 1
    again = ask(folder, tmp_path, LocalProcesses(cpu_seats(2)))
    assert again.shares == []  # nothing was left to ask


class _Killing(LocalProcesses):
    """Kills the first worker that has been given a slide, while it works on it."""

    def __init__(self) -> None:
        super().__init__(cpu_seats(2))
        self._victim: Any = None
        self._is_done = False

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[Worker]:
        if self._victim is not None and not self._is_done:
            os.kill(self._victim.pid, signal.SIGKILL)
            self._is_done = True
        heard = super().wait(workers, seconds)
        for worker in heard[:1]:
            assert isinstance(worker, LocalProcess)
            self._victim = self._victim or worker._process
        return heard


@pytest.mark.matrix
def test_a_killed_worker_s_slides_go_to_others(folder: Path, tmp_path: Path) -> None:
    reporter = Silent()
    report = ask(folder, tmp_path, _Killing(), reporter)
    require_same_bytes(folder, tmp_path)
    assert any("by signal SIGKILL); it held 1 slide" in text for text in reporter.warnings)
    assert any(share.died for share in report.shares)


def test_what_two_processes_left_one_goes_on_with(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "alone" / ANSWERS_FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / ANSWERS_FILE).write_bytes(b"".join([lines[0], *lines[10:13], *lines[4:7]]))
    ask(folder, tmp_path)
    require_same_bytes(folder, tmp_path)


def test_another_wording_gives_other_answers_and_is_refused_for_the_same_folder(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text('question: "{question} {options}"\n')
    own = (folder / "alone" / ANSWERS_FILE).read_text()
    for prompt in ("tc-ssa", str(tmp_path / "mine.yaml")):
        out = tmp_path / Path(prompt).stem
        metrics = ask(folder, out, prompt=prompt, limit=3).metrics
        assert metrics["asked"]["prompt"] == prompt
        assert (out / ANSWERS_FILE).read_text().splitlines()[1:] != own.splitlines()[1:4]
    (tmp_path / "mine.yaml").write_text('question: "{options} {question}"\n')
    with pytest.raises(RunError, match="prompt changed"):
        ask(folder, tmp_path / "mine", prompt=str(tmp_path / "mine.yaml"), limit=3)
