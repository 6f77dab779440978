from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A run of a sweep takes one thread: more would wait for those of the other tests."""
    threads = torch.get_num_threads()
    monkeypatch.setattr("tcssa.mil.sweep.sweep.num_cores", lambda: 1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_process(one_core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are trained in this process; a process of their own takes seconds to import torch."""
    pool = "tcssa.mil.sweep.sweep.ProcessPoolExecutor"
    monkeypatch.setattr(pool, lambda jobs, mp_context: ThreadPoolExecutor(jobs))
