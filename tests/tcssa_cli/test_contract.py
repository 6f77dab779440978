"""What holds of every command: quick help, JSON alone on stdout, exit codes, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

from tcssa.files.cache_folder import cache_folder
from tcssa_cli.main import app

COMMANDS = [
    *([command.name] for command in app.registered_commands),
    *(
        [group.name, command.name]
        for group in app.registered_groups
        if group.typer_instance is not None
        for command in group.typer_instance.registered_commands
    ),
]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_help_loads_nothing_heavy() -> None:
    # one process for all: what a command loads stays, so the first to load it is named
    code = (
        "import sys\n"
        "from tcssa_cli.main import run\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openslide', 'cv2', 'matplotlib', 'sklearn',\n"
        "         'h5py', 'numpy'}\n"
        f"for command in {[[], *COMMANDS]!r}:\n"
        "    code = run([*command, '--help'])\n"
        "    print('\\0', command, code, sorted(heavy & set(sys.modules)), end='\\0')\n"
    )
    told = python(code).stdout.split("\0")
    for command, text, after in zip([[], *COMMANDS], told[::2], told[1::2], strict=False):
        assert after == f" {command} 0 []"
        assert "--json" in text or not command
    assert len(told) == 2 * len(COMMANDS) + 3


def test_help_computes_little_beside_loading_its_libraries() -> None:
    code = (
        "import time; begin = time.process_time()\n"
        "import pydantic_settings, rich.markdown, rich.progress, rich.traceback, typer.rich_utils\n"
        "loaded = time.process_time()\n"
        "from tcssa_cli.main import run; run(['--help'])\n"
        "print((time.process_time() - loaded) / (loaded - begin))\n"
    )
    # a ratio within one process, about 1 here: how busy or fast the machine is cancels out
    assert min(float(python(code).stdout.splitlines()[-1]) for _ in range(3)) < 1.5


def test_version_names_what_matters(tcssa: Run) -> None:
    done = tcssa("--version")
    assert done.code == 0
    for name in ("tcssa", "torch", "onnxruntime", "openslide-python", "python"):
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name


def test_wrong_usage_exits_with_2(tcssa: Run, tmp_path: Path) -> None:
    assert tcssa("no-such-command").code == 2
    assert tcssa("extract", tmp_path).code == 2  # --out is missing
    no_cohort = tcssa("train-mil", "--out", tmp_path / "run")
    assert no_cohort.code == 2
    assert tcssa("train-mil", "--out", tmp_path / "run", "--epochs", "many").code == 2


def test_wrong_usage_is_json_too(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("eval", tmp_path, "--no-such-option", "--json")
    assert done.code == 2
    assert "No such option: --no-such-option" in done.json["error"]
    assert done.json["hint"] == "tcssa eval --help lists what it takes"
    done = tcssa("eval", tmp_path, "--device", "gpu")
    assert done.code == 2
    assert "'gpu' is not one of 'auto'" in done.stderr


def test_the_environment_names_a_preset_and_its_faults_are_told(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_DATASET", "nslcc")
    done = tcssa("train-mil", "--out", tmp_path / "run")
    assert done.code == 2
    assert "unknown dataset 'nslcc'" in done.stderr
    monkeypatch.delenv("TCSSA_DATASET")
    monkeypatch.setenv("TCSSA_MODEL", "foo")
    done = tcssa("train-mil", "--out", tmp_path / "run")
    assert done.code == 2
    assert "the environment holds a setting" in done.stderr


def test_errors_are_one_line_and_a_next_step(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("eval", tmp_path)
    assert done.code == 1
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == f"error  {tmp_path}: is no run directory (no run.json)"
    assert hint.strip() == "make one: tcssa train-mil"


def test_errors_are_json_where_json_was_asked_for(tcssa: Run, tmp_path: Path) -> None:
    done = tcssa("eval", tmp_path, "--json")
    assert done.code == 1
    assert "no run.json" in done.json["error"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    script = f"from tcssa_cli.main import run; run(['eval', {str(tmp_path)!r}, '--debug'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "tcssa.errors.RunError" in done.stderr


def test_an_unforeseen_error_is_told_without_a_traceback(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("tcssa.mil.comparison.compare.compare", broken)
    done = tcssa("compare", tmp_path)
    assert done.code == 1
    assert "unexpected ZeroDivisionError: surprise" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_says_that_the_same_command_goes_on(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tcssa.mil.comparison.compare.compare", interrupted)
    done = tcssa("compare", tmp_path)
    assert done.code == 130
    assert "run the same command again" in done.stderr


def test_doctor_tells_what_runs_here(tcssa: Run) -> None:
    done = tcssa("doctor", "--json")
    assert done.code == 0
    found = {finding["what"]: finding for finding in done.json["findings"]}
    assert found["ONNX Runtime"]["works"]
    assert "CPUExecutionProvider" in found["ONNX Runtime"]["found"]
    assert found["OpenSlide"]["works"]
    assert {"GPU", "TensorRT", "encoders"} <= set(found)
    assert str(cache_folder()) in found["cache"]["found"]
    assert tcssa("doctor").code == 0


def test_completion_is_offered(tcssa: Run) -> None:
    assert "--install-completion" in tcssa("--help").stdout


def test_json_of_a_run_has_the_figures(tcssa: Run, trained: Path) -> None:
    done = tcssa("eval", trained / "run", "--json")
    assert done.code == 0
    stored = json.loads((trained / "run" / "metrics.json").read_text())
    assert done.json["pooled"] == stored["pooled"]


@pytest.mark.parametrize(
    "command",
    [("train-mil", "--labels", "labels.csv"), ("convert", "job"), ("heatmap", "run", "job"),
     ("pull", "hf:owner/name"), ("export", "run"), ("sweep", "--over", "seed=0")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_an_address_makes_no_folder_of_its_name(
    tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = tcssa(*command, "--out", "s3://bucket/out")
    assert refused.code == 2
    assert "s3://bucket/out: this command writes to a disk" in refused.stderr
    assert list(tmp_path.iterdir()) == []
