"""Threads beside the caller."""

import threading

import pytest

from tcssa_runtimes.archive.writer_pool import Background


def test_as_much_is_done_at_once_as_there_are_threads() -> None:
    all_there = threading.Barrier(3)
    with Background(3) as threads:
        for _ in range(3):
            threads.do(lambda: all_there.wait(timeout=30) and None)
    assert threads.busy_s > 0


def test_leaving_waits_for_what_was_given() -> None:
    done: list[int] = []
    with Background(2) as threads:
        for number in range(200):
            threads.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert sorted(done) == list(range(200))


def fail() -> None:
    raise ValueError("broken")


def test_after_an_error_nothing_more_is_begun_and_it_is_raised() -> None:
    done: list[int] = []

    def give() -> None:
        with Background(1) as threads:
            threads.do(fail)
            threads.do(lambda: done.append(1))

    with pytest.raises(ValueError, match="broken"):
        give()
    assert done == []


def test_an_error_of_the_caller_is_not_hidden_by_one_of_the_work() -> None:
    def give() -> None:
        with Background(2) as threads:
            threads.do(fail)
            raise KeyError

    with pytest.raises(KeyError):
        give()
