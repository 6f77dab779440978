"""The help of every command: it fits 80 columns, has examples, and completes choices."""

import pytest
from command_line import Run

from tcssa_cli.help import examples
from tcssa_cli.main import _COMMANDS, _INSPECT, app

_ALL = {name: command for commands in _COMMANDS.values() for name, command in commands.items()}
WORDS = {
    **{name: ([name], command) for name, command in _ALL.items()},
    **{f"inspect {name}": (["inspect", name], command) for name, command in _INSPECT.items()},
}


@pytest.mark.parametrize("name", WORDS)
def test_the_help_ends_with_examples_that_fit_a_line(
    tcssa: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    words, command = WORDS[name]
    monkeypatch.setenv("COLUMNS", "80")
    shown = tcssa(*words, "--help").stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert examples(command)
    for line in examples(command):
        assert line.startswith("tcssa ")
        assert line in lines
    assert "<bool>" not in shown


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("train-mil --kind ", "ordinal"),
        ("train-mil --pool ", "attention"),
        ("train-mil --precision b", "bf16"),
        ("train-mil --model ab", "abmil"),
        ("extract --dtype ", "float16"),
        ("extract --encoder uni", "uni_v2"),
        ("encode --device c", "cuda"),
        ("encode --encoder uni", "uni_v2"),
        ("export --precision ", "fp16"),
        ("export --encoder conch", "conch_v15"),
        ("eval --method ", "generate"),
        ("eval --benchmark ", "wsi-vqa"),
    ],
)
def test_the_shell_completes_choices(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str, found: str
) -> None:
    monkeypatch.setenv("_TCSSA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"tcssa {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + words.endswith(" ")))
    with pytest.raises(SystemExit):
        app(args=[], prog_name="tcssa")
    assert found in capfd.readouterr().out.split()
