"""`tcssa merge` of a slide language model; of files of slots see `test_archives`."""

from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag
from vllm_server import serving
from vqa_runs import write_tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    write_bag(folder / "S1.h5", 40)
    return write_tiny_run(folder)


def test_a_run_becomes_a_folder_that_a_server_reads(tcssa: Run, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    left = tmp_path / ".merged.tcssa-part"  # by a merge that was killed
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    done = tcssa("merge", run, "--out", out)
    assert done.code == 0, done.stderr
    assert f"vllm serve {out} --enable-prompt-embeds" in done.stdout.replace("\n", "")
    assert not left.exists()
    names = {"config.json", "model.safetensors", "tokenizer.json", "projector.safetensors"}
    assert names < {path.name for path in out.iterdir()}
    features = ["--features", run.parent, "--out", tmp_path / "on"]
    trained = tcssa("train-vqa", "--stage", 2, "--from", out, "--data", out / "q.json", *features)
    assert trained.code == 1
    assert "is a merged or imported model" in " ".join(trained.stderr.split())
    arguments = ["ask", out, "What?", "--option", "yes", "--option", "no", "--device", "cpu"]
    with serving(out) as server:
        place = ["--features", run.parent / "S1.h5", "--endpoint", server.address]
        answered = tcssa(*arguments, *place, "--no-explain", "--json")
        wrong = tcssa(*arguments, *place, "--endpoint-model", "x")
    assert answered.json["predicted"] in (0, 1)
    assert wrong.code == 1
    assert "has no model 'x'; it has merged" in " ".join(wrong.stderr.split())


def test_what_is_neither_is_refused(tcssa: Run, run: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")

    def said(*arguments: object) -> str:
        done = tcssa("merge", *arguments, *out)
        assert done.code, arguments
        assert not (tmp_path / "out").exists()
        return " ".join(done.stderr.split())

    assert "--budget is for files of slots" in said(run, "--budget", 4)
    assert "2 things are to be merged" in said(run, run)
    assert "is no finished run of train-vqa" in said(tmp_path)
    assert "the model that made the files is missing" in said(tmp_path / "a.h5")
    assert "--llm is for runs of train-vqa" in said(tmp_path / "a.h5", "--llm", "x")
