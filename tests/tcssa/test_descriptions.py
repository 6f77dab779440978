"""The JSON that runs, artefacts, encoders, answers and caches say of themselves, damaged."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cohorts import brief_run
from exports import Exported
from json_damages import DAMAGES, changed_values, require_one_line
from rich.console import Console
from vqa_runs import write_tiny_run

from tcssa.artefact import MANIFEST_FILE, Artefact
from tcssa.encoders.exported import ExportedEncoder
from tcssa.errors import ArtefactError, FileError, RunError, TcssaError
from tcssa.files.locks import FolderLocks
from tcssa.mil.evaluation.evaluation_page import write_evaluation_page
from tcssa.mil.results.finished import read_finished
from tcssa.mil.results.history import write_history
from tcssa.mil.results.metrics_file import read_metrics
from tcssa.mil.tasks import Classes
from tcssa.mil.training.fold_results import read_fold
from tcssa.run import selected_checkpoint
from tcssa.vqa.answering.answer_log import AnswerLog
from tcssa.vqa.answering.answer_record import AnswerRecord
from tcssa.vqa.evaluation import report as vqa_report
from tcssa.vqa.model.run_file import read_vqa
from tcssa.vqa.training import train as vqa_train
from tcssa_cli.commands.metrics import show_metrics
from tcssa_runtimes import open_runtime

MADE_FROM = {"model": "m", "benchmark": "b"}
OPTIONS = {"predicted": "B", "log_probs": [-2.0, -0.1], "option_mass": 0.9}
SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}
REPORT = {
    "system": {"name": "run"},
    "benchmark": {"kind": "slidebench-tcga", "sha256": "0" * 64},
    "asked": {"num_questions": 3},
    "num_visual_tokens": 32,
    "scores": {"overall": {"accuracy": SCORE}},
}
VQA_METRICS = {
    "stage": 1, "steps": 4, "best_step": 2, "val_loss": 1.5, "train_loss": 1.0,
    "rows": {"train": 3, "val": 1}, "dropped": {"too long": 1}, "trained": {"projector": 9},
    "tokens_per_s": 12.5,
}  # fmt: skip
ENCODER = {
    "format": "onnx", "file": "model.onnx", "sha256": "0" * 64, "data_files": {}, "name": "e",
    "weights_hash": "w", "feature_dim": 8, "input_px": 32, "mean": [0.5] * 3, "std": [0.5] * 3,
    "trained_mpp": [0.5], "max_batch": None, "tolerance": 1e-4,
    "parity": [{"patches": "random", "batch": 1, "relative": 1e-6}], "not_run": None,
    "tools": {"onnx": "1"}, "build": {},
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """A file of JSON in a folder of its own, and all that is done with it."""

    path: Path
    use: Callable[[Path], object]
    """Given the folder."""
    error: type[FileError]


def _use_run(run: Path) -> None:
    read_finished(run)
    assert selected_checkpoint(run).parent.parent == run


def _use_metrics(run: Path) -> None:
    """As train-mil shows a run that is complete, and eval sets it beside another."""
    metrics = read_metrics(run)
    show_metrics(Console(quiet=True), metrics.pooled, metrics.task)
    own: dict[str, Any] = {
        "run": {"name": "r", "folder": "f", "model": "m", "folds": 1, "checkpoint_sha256": "c"},
        "predicted_by": "own fold", "labels": "l", "cohort": {}, "skipped": {}, "unit": "slide",
        "readings": [],
    }  # fmt: skip
    if metrics.task == Classes(("a", "b")):
        own |= metrics.to_dict()
        write_evaluation_page(run / "page", metrics.task, own, metrics, [])


def _use_fold(folder: Path) -> None:
    fold = read_fold(folder, 0, Classes(("a", "b")))
    assert fold.best in fold.epochs
    write_history(folder / "history", fold.epochs)


def _use_artefact(folder: Path) -> None:
    Artefact.read(folder)
    bag = np.ones((5, 16), np.float32)
    with open_runtime(folder, device="cpu") as runtime:
        (encoded,) = runtime.compress([bag])
        assert encoded.slots.shape == (6, 16)
        assert runtime.encode(bag).mass.shape == (6,)


def _read_answers(folder: Path) -> set[str]:
    with AnswerLog(folder / "answers.jsonl", MADE_FROM) as log:
        return set(log.done)


def error_of(call: Callable[[], object]) -> Exception | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    return None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return brief_run(tmp_path_factory)


@pytest.fixture(scope="module")
def vqa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("vqa"))


def written(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir()
    (folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.fixture(params=["run", "metrics", "fold", "artefact", "encoder", "vqa", "vqa metrics",
                        "report"])  # fmt: skip
def description(
    request: pytest.FixtureRequest, tmp_path: Path, run: Path, exported: Exported
) -> Description:
    kind, folder = request.param, tmp_path / "it"
    if kind in ("run", "metrics"):
        shutil.copytree(run, folder)
        use = {"run": _use_run, "metrics": _use_metrics}[kind]
        return Description(folder / f"{kind}.json", use, RunError)
    if kind == "fold":
        shutil.copytree(run / "fold-0", folder)
        return Description(folder / "metrics.json", _use_fold, RunError)
    if kind == "artefact":
        shutil.copytree(exported(), folder)
        return Description(folder / MANIFEST_FILE, _use_artefact, ArtefactError)
    if kind == "encoder":
        path = written(folder, "encoder.json", ENCODER)
        return Description(path, ExportedEncoder.read, ArtefactError)
    if kind == "vqa":
        vqa = request.getfixturevalue("vqa")
        shutil.copytree(vqa, folder)
        return Description(folder / "vqa.json", read_vqa, RunError)
    content, use_of = {
        "vqa metrics": (VQA_METRICS, vqa_train.read_metrics),
        "report": (REPORT, vqa_report.read_report),
    }[kind]
    return Description(written(folder, "metrics.json", content), use_of, RunError)


def test_a_sound_description_is_read(description: Description) -> None:
    description.use(description.path.parent)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_description_is_one_line(damage: str, description: Description) -> None:
    path = description.path
    content = path.read_bytes()
    path.unlink()
    DAMAGES[damage](path, content)
    with pytest.raises(description.error) as caught:
        description.use(path.parent)
    require_one_line(caught.value, path)


def test_no_value_of_a_description_leads_to_an_error_of_another_kind(
    description: Description,
) -> None:
    path, refused = description.path, 0
    for place, content in changed_values(json.loads(path.read_text())):
        path.write_text(json.dumps(content))
        error = error_of(lambda: description.use(path.parent))
        if error is not None:
            assert isinstance(error, TcssaError), place
            require_one_line(error, path)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("description", ["artefact", "encoder", "vqa"], indirect=True)
def test_a_number_that_is_none_is_refused_wherever_it_stands(description: Description) -> None:
    path = description.path
    sound = path.read_text()
    numbers = sorted(set(re.findall(r"[:\[]\s*(-?\d[^,\]}\s]*)", sound)))
    assert len(numbers) > 2
    for number in numbers:
        for none in ("NaN", "Infinity", "-Infinity"):
            path.write_text(
                re.sub(rf"([:\[]\s*){re.escape(number)}(?=[,\]}}\s])", rf"\1{none}", sound)
            )
            with pytest.raises(description.error) as caught:
                description.use(path.parent)
            require_one_line(caught.value, path)


@pytest.mark.parametrize("selected", ["../fold-0", "..", "/etc", "x" * 300, "fold-0/../fold-1", 3])
def test_a_run_stands_for_a_folder_of_its_own(run: Path, tmp_path: Path, selected: object) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"selected": selected}))
    with pytest.raises(RunError, match="selected"):
        selected_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "x" * 300, "a\\b", ""])
def test_an_artefact_s_files_lie_in_its_folder(
    exported: Exported, tmp_path: Path, name: str
) -> None:
    shutil.copytree(exported(), tmp_path / "a")
    path = tmp_path / "a" / MANIFEST_FILE
    content = json.loads(path.read_text())
    content["models"]["full"]["file"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match="no plain name"):
        open_runtime(tmp_path / "a")


def claim(folder: Path, **sizes: int) -> None:
    """Let an artefact claim other sizes, in all places alike."""
    path = folder / MANIFEST_FILE
    content = json.loads(path.read_text())
    for name, size in sizes.items():
        old = content[name]
        content[name] = size
        for model in content["models"].values():
            for tensor in (*model["inputs"], *model["outputs"]):
                tensor["shape"] = [size if each == old else each for each in tensor["shape"]]
    path.write_text(json.dumps(content))


def test_sizes_that_an_artefact_claims_are_compared_with_its_graph(
    exported: Exported, tmp_path: Path
) -> None:
    shutil.copytree(exported(), tmp_path / "a")
    claim(tmp_path / "a", feature_dim=17, slot_dim=17)
    with (
        pytest.raises(ArtefactError, match=r"model\.onnx: its inputs are not those"),
        open_runtime(tmp_path / "a"),
    ):
        pass
    claim(tmp_path / "a", feature_dim=10**9, slot_dim=10**9)
    with pytest.raises(ArtefactError, match="claims 6,000,000,000 numbers"):
        open_runtime(tmp_path / "a")


ANSWERS: list[dict[str, Any]] = [
    {"row_id": "1", "slide": "s", "status": "answered", **OPTIONS, "num_visual": 6,
     "orders": [OPTIONS, OPTIONS], "blank": OPTIONS, "other_slide": OPTIONS},
    {"row_id": "2", "slide": "s", "status": "no_features", "message": "m"},
]  # fmt: skip


def write_answers(folder: Path, answers: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "answers.jsonl"
    path.unlink(missing_ok=True)
    with AnswerLog(path, MADE_FROM) as log:
        log.append([AnswerRecord.model_validate(answer) for answer in answers])
    return path


def test_no_value_of_an_answer_leads_to_an_error_of_another_kind(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "log", ANSWERS)
    header = path.read_text().splitlines()[0]
    assert _read_answers(path.parent) == {"1", "2"}
    for place, changed in changed_values(ANSWERS[0]):
        lines = [json.dumps(each) for each in (changed, ANSWERS[1])]
        path.write_text("\n".join([header, *lines, ""]))
        error = error_of(lambda: _read_answers(path.parent))
        if error is not None:
            assert isinstance(error, RunError), place
            assert "line 2 " in str(error), place
            require_one_line(error, path)


@pytest.mark.parametrize("damage", ["of another kind", "in UTF-16", "with a NUL", "deeply nested",
                                    "a folder", "a pipe"])  # fmt: skip
def test_a_damaged_log_of_answers_is_one_line(damage: str, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "log", ANSWERS)
    content = path.read_bytes()
    path.unlink()
    DAMAGES[damage](path, content + b"\n")
    with pytest.raises(RunError) as caught:
        AnswerLog(path, MADE_FROM)
    require_one_line(caught.value, path)


LOCK = {"host": "h", "pid": 1, "token": "t"}


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "a folder"])
def test_a_damaged_lock_is_someone_s_until_it_is_old(damage: str, tmp_path: Path) -> None:
    with FolderLocks(tmp_path) as locks:
        DAMAGES[damage](tmp_path / ".it.tcssa-lock", json.dumps(LOCK).encode())
        if damage == "a loop of links":
            return  # nothing on the disk stands for it
        assert locks.take("it") is not None


@pytest.mark.parametrize("pid", ["text", -1, 10**30, None, True, [1], 1.5])
def test_a_lock_of_an_odd_process_is_someone_s(pid: object, tmp_path: Path) -> None:
    import socket

    with FolderLocks(tmp_path) as locks:
        lock = LOCK | {"host": socket.gethostname(), "pid": pid}
        (tmp_path / ".it.tcssa-lock").write_text(json.dumps(lock))
        assert locks.take("it") is not None
