from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from tcssa.crew.shares import (
    Join,
    Share,
    SharedWork,
    each_counted,
    each_once,
    means_by_name,
    sums_by_name,
)


@dataclass
class Figures:
    device: str | None = "cpu"
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


@dataclass
class Report(Figures, SharedWork):
    joins: ClassVar[Mapping[str, Join]] = {
        "device": each_counted,
        "seconds": fmean,
        "notes": each_once,
        "counts": sums_by_name,
        "shares": means_by_name,
    }


def test_figures_of_workers_become_those_of_one_and_the_dead_do_not_count() -> None:
    one = Figures("cpu", 2.0, ["a"], {"copied": 1}, {"wait": 0.5})
    other = Figures("gpu", 4.0, ["b", "a"], {"copied": 2, "full": 1})
    report = Report()
    report.add_up([Share("worker 1", report=one), Share("worker 2", died=True)])
    report.add_up([Share("worker 1", report=other)])
    assert [share.worker for share in report.workers] == ["worker 1", "worker 2", "worker 1"]
    assert (report.device, report.seconds, report.notes) == ("1 x cpu, 1 x gpu", 3.0, ["a", "b"])
    assert (report.counts, report.shares) == ({"copied": 3, "full": 1}, {"wait": 0.25})


def test_figures_stay_where_no_worker_ended() -> None:
    report = Report()
    report.add_up([Share("worker 1", died=True)])
    assert (report.device, report.seconds) == ("cpu", 0.0)


def test_a_device_that_nobody_had_is_none() -> None:
    assert each_counted([None, None]) is None
