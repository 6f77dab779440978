"""Sweeps: which runs they consist of, what is kept, what fails."""

import csv
from pathlib import Path

import h5py
import pytest
from cohorts import small_run, write_cohort
from html_pages import read_page

from tcssa.config.settings import read_yaml
from tcssa.errors import UnknownNameError, UsageError
from tcssa.mil.sweep.sweep import parse_axis, points, sweep
from tcssa.reporter import Silent

pytestmark = pytest.mark.usefixtures("one_core")


def names(*axes: str) -> list[str]:
    return [point.name for point in points([parse_axis(axis) for axis in axes])]


def test_runs_are_all_combinations_and_other_methods_have_no_slots() -> None:
    assert names("num-slots=8,16", "seed=0,1") == [
        "num_slots=8,seed=0",
        "num_slots=8,seed=1",
        "num_slots=16,seed=0",
        "num_slots=16,seed=1",
    ]
    assert names("model=tcssa,abmil", "num_slots=8,16", "aux_weight=0.1,0", "lr=1e-3") == [
        "model=tcssa,num_slots=8,aux_weight=0.1,lr=1e-3",
        "model=tcssa,num_slots=8,aux_weight=0,lr=1e-3",
        "model=tcssa,num_slots=16,aux_weight=0.1,lr=1e-3",
        "model=tcssa,num_slots=16,aux_weight=0,lr=1e-3",
        "model=abmil,lr=1e-3",
    ]


def test_axes_that_make_no_sense() -> None:
    with pytest.raises(UnknownNameError, match="unknown setting 'num_slot'"):
        parse_axis("num_slot=8")
    with pytest.raises(UsageError, match="--over takes NAME=VALUE"):
        parse_axis("num_slots")
    with pytest.raises(UsageError, match="give each setting to sweep once"):
        points([parse_axis("seed=0"), parse_axis("seed=1")])
    with pytest.raises(UsageError, match="give each setting to sweep once"):
        points([])


def test_a_sweep_goes_on_grows_and_tells_what_failed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=1)
    out = tmp_path / "sweep"
    with pytest.raises(UsageError, match="num_slots"):
        sweep(settings, [parse_axis("num_slots=0,4")], out)
    first = sweep(settings, [parse_axis("num_slots=2,4")], out, jobs=2)
    assert [row["num_slots"] for row in first.rows] == ["2", "4"]
    assert first.failed == []
    with (out / "sweep.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [float(row["auc"]) for row in table] == [row["auc"] for row in first.rows]
    assert (out / "auc_by_slots.png").read_bytes().startswith(b"\x89PNG")
    page = read_page(out / "sweep.html")
    assert [cells[0] for cells in page.cells] == ["num_slots", "2", "4"]
    assert len(page.attributes("img")) == 1
    request.getfixturevalue("one_process")
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/run.json")}
    again = sweep(settings, [parse_axis("num_slots=2,4,3")], out)
    assert again.rows[:2] == first.rows
    assert len(list((out / "runs").glob("*/run.json"))) == len(before) + 1 == 3
    assert before == {path: path.stat().st_mtime_ns for path in before}
    failing = sweep(settings, [parse_axis("model=mean"), parse_axis("folds=3,40")], out)
    assert [row["folds"] for row in failing.rows] == ["3"]
    assert [name for name, _ in failing.failed] == ["model=mean,folds=40"]
    assert "fold" in failing.failed[0][1]
    assert (out / "failed.csv").exists()
    assert "model=mean,folds=40" in read_page(out / "sweep.html").text


@pytest.mark.usefixtures("one_process")
def test_what_runs_warn_of_is_told_once_with_the_runs(tmp_path: Path) -> None:
    data = write_cohort(tmp_path)
    with h5py.File(tmp_path / "features" / "s07.h5", "r+") as file:
        file["features"][3, 5] = 70_000.0
    settings = small_run(data, epochs=1, lr=1e-4, feature_cache=tmp_path / "packs")
    told = Silent()
    sweep(settings, [parse_axis("model=mean,max")], tmp_path / "sweep", told)
    (text,) = told.warnings
    assert text.startswith("2 runs, model=max first: 1 slides do not fit float16")
    assert "s07 (row 3 has a value beyond float16)" in text


@pytest.mark.usefixtures("one_process")
def test_each_method_may_have_settings_of_its_own(tmp_path: Path) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=1)
    train = settings.train.model_copy(update={"weight_decay": 0.5})
    of_method = {"max": settings.model_copy(update={"train": train})}
    out = tmp_path / "sweep"
    sweep(settings, [parse_axis("model=mean,max")], out, of_method=of_method)
    runs = [
        read_yaml(out / "runs" / f"model={name}" / "config.resolved.yaml")
        for name in ("mean", "max")
    ]
    assert [run["train"]["weight_decay"] for run in runs] == [settings.train.weight_decay, 0.5]
    assert [run["model"]["name"] for run in runs] == ["mean", "max"]
