"""A bound on the memory that threads take together."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tcssa_runtimes.archive.memory_budget import Budget, CancelledError

PATIENCE_S = 30


def test_what_does_not_fit_waits_until_it_is_given_back() -> None:
    budget = Budget(10)
    budget.take(7)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(budget.take, 5)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.05)
        budget.take(3)  # a smaller request need not wait behind it
        assert budget.taken() == 10
        budget.give_back(7)
        waiting.result(timeout=PATIENCE_S)
    assert budget.taken() == 8


def test_many_threads_never_take_more_than_there_is() -> None:
    budget, held, most, lock = Budget(100), 0, 0, threading.Lock()

    def work(seed: int) -> None:
        nonlocal held, most
        for step in range(200):
            size = (seed * 37 + step * 53) % 60 + 1
            budget.take(size)
            with lock:
                held += size
                most = max(most, held)
            with lock:
                held -= size
            budget.give_back(size)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8), timeout=PATIENCE_S))
    assert 0 < most <= 100
    assert budget.taken() == 0


def test_cancelling_frees_all_who_wait_and_refuses_all_who_come() -> None:
    budget = Budget(4)
    budget.take(4)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(budget.take, size) for size in (1, 2, 4)]
        budget.cancel()
        for each in waiting:
            with pytest.raises(CancelledError):
                each.result(timeout=PATIENCE_S)
    budget.give_back(4)
    with pytest.raises(CancelledError):
        budget.take(1)
    assert budget.taken() == 0


def test_the_whole_budget_may_be_taken_at_once() -> None:
    budget = Budget(10)
    for _ in range(3):
        budget.take(10)
        assert budget.taken() == 10
        budget.give_back(10)
