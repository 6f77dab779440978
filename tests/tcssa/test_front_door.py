"""The commands as calls: settings flat or by section, paths as text."""

import subprocess
import sys
from pathlib import Path

import pytest
from cohorts import small_run, write_cohort
from factories import write_bag

import tcssa
from tcssa.config.settings import Section
from tcssa.errors import UnknownNameError, UsageError
from tcssa.front_door import by_section
from tcssa.mil.settings import MilSettings, ModelSettings
from tcssa.mil.training.train import train
from tcssa.reporter import Silent
from tcssa.run import read_run


def test_dir_shows_the_front_door() -> None:
    names = {"open_bag", "extract", "train", "heatmap", "load_classifier", "load_compressor"}
    assert names <= set(dir(tcssa))
    assert all(getattr(tcssa, name) for name in dir(tcssa))


def test_importing_loads_nothing_heavy_and_takes_less_than_a_tenth_of_a_second() -> None:
    code = (
        "import sys, time; begin = time.process_time(); import tcssa; dir(tcssa)\n"
        "took = time.process_time() - begin\n"
        "assert not {'torch', 'numpy', 'pydantic', 'h5py', 'pandas'} & set(sys.modules)\n"
        "print(took)"
    )
    call = [sys.executable, "-c", code]
    took = [subprocess.run(call, check=True, capture_output=True, text=True) for _ in range(3)]
    assert min(float(done.stdout) for done in took) < 0.1


def test_flat_settings_come_to_their_sections() -> None:
    flat = by_section(
        {"labels": "l.csv", "epochs": 5, "model": "abmil", "splits": "s", "recipe": "paper"}
    )
    assert flat == {
        "cohort": {"labels": "l.csv"},
        "train": {"epochs": 5},
        "model": {"name": "abmil"},
        "split": {"files": "s"},
        "recipe": "paper",
    }


def test_sections_are_taken_whole_and_beside_flat_settings() -> None:
    given = {"model": ModelSettings(name="abmil"), "train": {"epochs": 5}, "lr": 0.1, "top_k": 1}
    assert by_section(given) == {
        "model": {"name": "abmil", "top_k": 1},
        "train": {"epochs": 5, "lr": 0.1},
    }


def test_a_setting_given_twice_is_refused() -> None:
    for given in ({"train": {"epochs": 5}, "epochs": 6}, {"epochs": 6, "train": {"epochs": 5}}):
        with pytest.raises(UsageError, match="epochs is given twice"):
            by_section(given)


def test_a_section_is_no_value() -> None:
    with pytest.raises(UsageError, match=r"train is a section of settings: give train=\{…\}"):
        by_section({"train": 5})


@pytest.mark.parametrize("name", ["epoch", "name", "files"])
def test_a_setting_that_there_is_not_is_named_with_those_near(name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown setting '{name}'") as caught:
        by_section({name: 5})
    assert name != "epoch" or "epochs" in (caught.value.hint or "")


def test_no_two_sections_have_a_setting_of_one_name() -> None:
    names = [
        name
        for field in MilSettings.model_fields.values()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for name in field.annotation.model_fields
    ]
    assert len(names) == len(set(names))
    assert not set(names) & set(MilSettings.model_fields)


def test_training_takes_text_for_paths(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    metrics = tcssa.train(
        labels=str(cohort.labels),
        features=str(cohort.features),
        out=str(tmp_path / "run"),
        reporter=Silent(),
        model="mean",
        folds=3,
        epochs=2,
    )
    assert len(metrics.folds) == 3
    assert read_run(tmp_path / "run")["complete"]


def test_slides_that_fail_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.svs").write_bytes(b"no slide")
    report = tcssa.extract(str(tmp_path / "broken.svs"), str(tmp_path / "job"), mpp=1)
    assert report.count("failed") == 1
    assert "warning: failed: " in capsys.readouterr().err


def test_a_wrong_setting_of_an_extraction_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mppp: is no setting; did you mean mpp\?"):
        tcssa.extract(tmp_path, tmp_path / "job", mppp=1)


def test_a_heat_map_takes_two_arguments(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    run = str(tmp_path / "run")
    train(small_run(cohort, epochs=1), Path(run), Silent())
    reporter = Silent()
    assert cohort.features
    found = tcssa.heatmap(run, str(cohort.features / "s00.h5"), reporter=reporter)
    assert found.folder == tmp_path / "run" / "heatmaps"
    assert [record.slide_id for record in found.records] == ["s00"]
    assert (found.folder / found.records[0].pictures[0]).exists()
    write_bag(tmp_path / "narrow.h5", feature_dim=8)
    tcssa.heatmap(run, [tmp_path / "narrow.h5"], tmp_path / "out", reporter=reporter, crops=0)
    assert reporter.warnings[-1].startswith("failed: narrow: ")
    (tmp_path / "new.svs").write_bytes(b"")
    with pytest.raises(UsageError, match="is for features"):
        tcssa.heatmap(run, tmp_path / "new.svs", slides=tmp_path)
