"""`tcssa chat` as a user calls it."""

import io
from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag
from vqa_runs import write_tiny_run


def test_turns_are_piped_in(tcssa: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_run(tmp_path)
    bag = write_bag(tmp_path / "S1.h5", 40)
    asked = ("chat", tmp_path / "run", bag, "--max-new-tokens", 3, "--device", "cpu")
    monkeypatch.setattr("sys.stdin", io.StringIO("What is seen?\nWhy?\n\nnot asked\n"))
    done = tcssa(*asked, "--html", tmp_path / "chat.html")
    assert done.code == 0, done.stderr
    assert done.stdout.count("rests on slots ") == 2
    assert "patches around" in done.stdout
    assert (tmp_path / "chat.html").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("What is seen?"))
    (answer,) = tcssa(*asked, "--temperature", 0.8, "--seed", 3, "--json").json["answers"]
    assert answer["question"] == "What is seen?"
    assert len(answer["slots"]) == 6
    wrong = tcssa(*asked, "--top-p", 0)
    assert wrong.code == 2
