"""The packed cohort: what it holds, who shares it, and that no kill or full disk spoils it."""

import errno
import os
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cohorts import small_run, write_cohort
from factories import write_bag
from heard import Heard
from safetensors.torch import save_file

from tcssa.errors import DiskFullError, FeatureFileError, FileError, NonFiniteFeatureError, RunError
from tcssa.features import read_features
from tcssa.mil.bags import feature_pack, feature_pack_writer
from tcssa.mil.bags.bag_store import BagStore, open_store
from tcssa.mil.bags.feature_pack import FeaturePack
from tcssa.mil.bags.feature_pack_writer import open_pack
from tcssa.mil.cohort.cohort import Cohort, read_cohort
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.settings import CohortSettings, TrainSettings
from tcssa.mil.sweep.sweep import parse_axis, sweep
from tcssa.mil.training.train import train
from tcssa.reporter import Silent, Task
from tcssa.run import read_run


class Listener(Heard):
    """Keeps notes, and how many slides each task set out to pack."""

    def __init__(self) -> None:
        super().__init__()
        self.packed: list[int] = []

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        if description == "packing features":
            self.packed.append(total or 0)
        with super().task(description, total, unit) as task:
            yield task


@pytest.fixture
def data(tmp_path: Path) -> CohortSettings:
    return write_cohort(tmp_path, num_slides=6)


@pytest.fixture
def cohort(data: CohortSettings) -> Cohort:
    return read_cohort(data)


def change(data: CohortSettings, name: str, row: int, value: float) -> None:
    assert data.features is not None
    with h5py.File(data.features / f"{name}.h5", "r+") as file:
        file["features"][row, 5] = value


def store_as_half(data: CohortSettings) -> None:
    assert data.features is not None
    for path in data.features.iterdir():
        with h5py.File(path, "r+") as file:
            half = file["features"][:].astype(np.float16)
            attributes = dict(file["features"].attrs)
            del file["features"]
            file["features"] = half
            file["features"].attrs.update(attributes)


def check_whole(pack: FeaturePack, cohort: Cohort) -> None:
    for slide in cohort.slides:
        expected = BagStore(0).get(slide).half()
        assert torch.equal(pack.read(slide), expected)


def results(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("**/*.csv", "**/*.safetensors", "**/metrics.json")
        for path in folder.glob(pattern)
    }


def test_a_pack_holds_all_slides_and_is_made_once(tmp_path: Path, cohort: Cohort) -> None:
    first, second = Listener(), Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, first), cohort)
    check_whole(open_pack(tmp_path / "packs", cohort, second), cohort)
    assert (first.packed, second.packed) == ([6], [])
    files = sorted(path.name for path in (tmp_path / "packs").glob("*/*"))
    assert files == [f"{slide.slide_id}.safetensors" for slide in cohort.slides]


HOLD = """
import resource, sys
from pathlib import Path
from tcssa.mil.bags.bag_store import open_store
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.settings import CohortSettings, TrainSettings
from tcssa.reporter import Silent

resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
folder = Path(sys.argv[1])
cohort = read_cohort(CohortSettings(labels=folder / "labels.csv", features=folder / "features"))
store = open_store(TrainSettings(feature_cache=folder / "packs"), cohort, Silent())
print(len([store.get(slide) for slide in cohort.slides]), len(store._held))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_more_slides_are_held_than_files_may_be_open(tmp_path: Path) -> None:
    write_cohort(tmp_path, num_slides=60)
    done = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["60", "60"], done.stderr


@pytest.mark.parametrize(("number", "hint"), [(errno.EMFILE, "ulimit -n"), (errno.EACCES, "right")])
def test_what_the_system_refuses_is_not_called_damage(
    tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    pack = open_pack(tmp_path / "packs", cohort, Silent())

    def refuses(path: Path, *arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuses)
    for read in (
        lambda: pack.read(cohort.slides[0]),
        lambda: open_pack(tmp_path / "packs", cohort, Silent()),
    ):
        with pytest.raises(FeatureFileError, match=os.strerror(number)) as caught:
            read()
        assert hint in str(caught.value.hint)
        assert "remove" not in str(caught.value.hint)


def test_the_order_of_the_table_makes_no_other_pack(
    tmp_path: Path, data: CohortSettings, cohort: Cohort
) -> None:
    assert data.labels is not None
    head, *rows = data.labels.read_text().splitlines()
    data.labels.write_text("\n".join([head, *rows[::-1]]) + "\n")
    first = open_pack(tmp_path / "packs", cohort, Silent())
    turned = read_cohort(data)
    assert [s.slide_id for s in turned.slides] == [s.slide_id for s in cohort.slides]
    assert open_pack(tmp_path / "packs", turned, Silent()) == first


@pytest.mark.parametrize("row", [0, 5])  # the features' hash looks at the first, not at the sixth
def test_another_content_is_another_pack_and_the_old_one_is_told_of(
    tmp_path: Path, data: CohortSettings, cohort: Cohort, row: int
) -> None:
    old = open_pack(tmp_path / "packs", cohort, Silent())
    change(data, "s03", row, 9.0)
    changed, listener = read_cohort(data), Listener()
    new = open_pack(tmp_path / "packs", changed, listener)
    assert new.folder != old.folder
    assert new.read(changed.slides[3])[row, 5] == 9
    assert old.read(cohort.slides[3])[row, 5] != 9
    assert any("packs of other features lie in" in note for note in listener.notes)
    assert any(old.folder.name in note for note in listener.notes)


def test_training_on_float16_features_is_the_same_with_a_pack(tmp_path: Path) -> None:
    data = write_cohort(tmp_path)
    store_as_half(data)
    plain = small_run(data, epochs=2)
    cached = small_run(data, epochs=2, feature_cache=tmp_path / "packs", readers=3)
    train(plain, tmp_path / "plain", Silent())
    train(cached, tmp_path / "cached", Silent())
    assert results(tmp_path / "cached") == results(tmp_path / "plain")
    assert len(list((tmp_path / "packs").iterdir())) == 1
    assert read_run(tmp_path / "cached")["rounding"] is None
    # nothing of it defines the run
    assert train(plain, tmp_path / "cached", Silent()) == read_metrics(tmp_path / "plain")


def test_a_run_on_rounded_features_says_so_and_is_evaluated_on_them(tmp_path: Path) -> None:
    data = write_cohort(tmp_path)
    change(data, "s07", 3, 70_000.0)
    settings = small_run(data, epochs=2, lr=1e-4, feature_cache=tmp_path / "packs")
    listener = Listener()
    metrics = train(settings, tmp_path / "run", listener)
    rounding = read_run(tmp_path / "run")["rounding"]
    assert 0 < rounding["largest_change"] < 4e-3
    assert rounding["left_as_they_are"] == {"s07": "row 3 has a value beyond float16"}
    assert any("rounded to float16" in note for note in listener.notes)
    assert any("s07 (row 3 has a value" in text for text in listener.warnings)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "no value changed by more than" in page
    assert evaluate(tmp_path / "run", Silent()).metrics["pooled"] == metrics.pooled
    with pytest.raises(RunError, match="True, now False: go on with --feature-cache"):
        train(small_run(data, epochs=2, lr=1e-4), tmp_path / "run", Silent())


def test_a_slide_beyond_float16_comes_from_its_own_file(
    tmp_path: Path, data: CohortSettings
) -> None:
    change(data, "s02", 4, -1e6)
    cohort = read_cohort(data)
    train_settings = TrainSettings(feature_cache=tmp_path / "packs")
    for _ in range(2):  # made, and found again
        store = open_store(train_settings, cohort, Silent())
        assert store.get(cohort.slides[2])[4, 5] == -1e6
        assert store.get(cohort.slides[3]).dtype == torch.float16


def test_a_non_finite_feature_is_named(tmp_path: Path, data: CohortSettings) -> None:
    change(data, "s04", 11, np.nan)
    with pytest.raises(NonFiniteFeatureError, match=r"s04\.h5: .*row 11"):
        open_pack(tmp_path / "packs", read_cohort(data), Silent())


def test_what_does_not_stay_in_memory_is_told(tmp_path: Path, cohort: Cohort) -> None:
    for cache in (None, tmp_path / "packs"):
        listener = Listener()
        settings = TrainSettings(feature_cache=cache, cache_gb=2e-6)  # two of six slides
        store = open_store(settings, cohort, listener)
        read = [store.get(slide).half() for slide in cohort.slides]
        assert 0 < len(store._held) < 6
        assert any("--cache-gb 2e-06" in note for note in listener.notes)
        for slide, features in zip(cohort.slides, read, strict=True):
            assert torch.equal(features, BagStore(0).get(slide).half())


PACK = """
import sys, time
from pathlib import Path
from tcssa.mil.bags import feature_pack_writer
from tcssa.mil.cohort.cohort import read_cohort
from tcssa.mil.settings import CohortSettings
from tcssa.reporter import Silent

pack_slide = feature_pack_writer._pack_slide

def slowly(slide, *rest):
    print(slide.slide_id, flush=True)
    time.sleep(float(sys.argv[2]))
    return pack_slide(slide, *rest)

feature_pack_writer._pack_slide = slowly
folder = Path(sys.argv[1])
data = CohortSettings(labels=folder / "labels.csv", features=folder / "features")
feature_pack_writer.open_pack(folder / "packs", read_cohort(data), Silent())
"""


def start_packing(folder: Path, seconds_a_slide: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PACK, str(folder), str(seconds_a_slide)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_9_in_packing_is_taken_up_where_it_was(tmp_path: Path, cohort: Cohort) -> None:
    process = start_packing(tmp_path, 0.05)
    assert process.stdout is not None
    for expected in ("s00", "s01", "s02", "s03"):
        assert process.stdout.readline() == f"{expected}\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    (folder,) = (tmp_path / "packs").glob("features-*")
    done = list(folder.glob("*.safetensors"))
    assert 3 <= len(done) < 6
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, listener), cohort)
    assert listener.packed == [6 - len(done)]
    assert not list((tmp_path / "packs").rglob("*.tcssa-*"))


def test_two_processes_at_once_pack_every_slide_once(tmp_path: Path, cohort: Cohort) -> None:
    processes = [start_packing(tmp_path, 0.1) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said[0] + said[1]) == [slide.slide_id for slide in cohort.slides]
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, listener), cohort)
    assert listener.packed == []


def test_a_disk_too_small_is_told_before_anything_is_written(
    tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 4096, 4096)
    monkeypatch.setattr(feature_pack_writer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskFullError, match=r"needs 0\.00 GB, and 0\.00 GB are free"):
        open_pack(tmp_path / "packs", cohort, Silent())
    assert not list((tmp_path / "packs").glob("*/*"))


def test_a_disk_that_fills_up_keeps_what_is_whole(
    tmp_path: Path, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, left = feature_pack.save_file, [3]

    def fills_up(tensors: dict[str, torch.Tensor], path: Path, facts: dict[str, str]) -> None:
        save(tensors, path, facts)
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1

    with monkeypatch.context() as patched:
        patched.setattr(feature_pack, "save_file", fills_up)
        with pytest.raises(DiskFullError, match="no space left"):
            open_pack(tmp_path / "packs", cohort, Silent())
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, listener), cohort)
    assert listener.packed == [3]


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path, cohort: Cohort) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot hold packed features") as caught:
        open_pack(tmp_path / "file", cohort, Silent())
    assert "--feature-cache" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".h5"])
@pytest.mark.parametrize("seen", [0, 1])
def test_a_feature_file_that_is_gone_is_named_and_not_the_cache(
    tmp_path: Path, data: CohortSettings, monkeypatch: pytest.MonkeyPatch, suffix: str, seen: int
) -> None:
    assert data.features is not None
    for path in list(data.features.iterdir()):
        features = read_features(path)
        path.unlink()
        if suffix == ".npy":
            np.save(path.with_suffix(suffix), features)
        elif suffix == ".pt":
            torch.save(torch.from_numpy(features), path.with_suffix(suffix))
        else:
            write_bag(path, len(features))
    cohort = read_cohort(data)
    lost = cohort.slides[3].path
    if seen:  # it goes once it was looked for
        monkeypatch.setattr(feature_pack_writer, "_pack_key", lambda cohort: "key")
        is_file = Path.is_file
        monkeypatch.setattr(Path, "is_file", lambda path: path == lost or is_file(path))
    lost.unlink()
    with pytest.raises(FeatureFileError, match=rf"s03\{suffix}: .*[Nn]o such file") as caught:
        open_pack(tmp_path / "packs", cohort, Silent())
    assert caught.value.path == lost


def test_damage_is_found_when_it_is_read(tmp_path: Path, cohort: Cohort) -> None:
    pack = open_pack(tmp_path / "packs", cohort, Silent())
    damaged = pack.folder / "s01.safetensors"
    with damaged.open("r+b") as rows:
        rows.seek(-7, os.SEEK_END)
        rows.write(b"\x55")
    with pytest.raises(FeatureFileError, match=r"s01\.safetensors: holds other rows") as caught:
        pack.read(cohort.slides[1])
    assert str(damaged) in str(caught.value.hint)


def cut_short(path: Path) -> None:
    os.truncate(path, 100)


def of_other_rows(path: Path) -> None:
    save_file(
        {"features": torch.zeros(3, 16).half()}, path, {"rows_xxh3": "", "largest_change": "0"}
    )


def of_float32(path: Path) -> None:
    save_file({"features": torch.zeros(21, 16)}, path, {"rows_xxh3": "", "largest_change": "0"})


def without_facts(path: Path) -> None:
    save_file({"features": torch.zeros(21, 16).half()}, path)


@pytest.mark.parametrize("damage", [cut_short, of_other_rows, of_float32, without_facts])
def test_a_damaged_file_is_packed_anew(
    tmp_path: Path, cohort: Cohort, damage: Callable[[Path], None]
) -> None:
    damage(open_pack(tmp_path / "packs", cohort, Silent()).folder / "s01.safetensors")
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, listener), cohort)
    assert listener.packed == [1]
    assert any("damaged, and are packed anew: s01" in text for text in listener.warnings)


def test_a_pack_of_an_earlier_version_is_not_read_and_named(tmp_path: Path, cohort: Cohort) -> None:
    old = tmp_path / "packs" / "features-0123"
    old.mkdir(parents=True)
    (old / "rows.bin").write_bytes(bytes(64))
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", cohort, listener), cohort)
    assert any("earlier version" in note and "features-0123" in note for note in listener.notes)


def test_a_file_that_changes_while_it_is_packed_is_named(
    tmp_path: Path, data: CohortSettings, cohort: Cohort
) -> None:
    assert data.features is not None
    write_bag(data.features / "s03.h5", 9)
    with pytest.raises(FeatureFileError, match="had 23 patches a moment ago, now 9"):
        open_pack(tmp_path / "packs", cohort, Silent())


@pytest.mark.usefixtures("one_process")  # of two at once the test of two processes tells
def test_the_runs_of_a_sweep_share_one_pack(tmp_path: Path) -> None:
    data = write_cohort(tmp_path)
    settings = small_run(data, epochs=1, feature_cache=tmp_path / "packs")
    done = sweep(settings, [parse_axis("model=mean,max")], tmp_path / "sweep")
    assert done.failed == []
    assert len(list((tmp_path / "packs").iterdir())) == 1
    listener = Listener()
    check_whole(open_pack(tmp_path / "packs", read_cohort(data), listener), read_cohort(data))
    assert listener.packed == []
