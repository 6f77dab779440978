"""Names of code in files: imported if the user gives the same name, and not otherwise."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cohorts import small_run, write_cohort

from tcssa.compressor.checkpoint import write_tensors
from tcssa.config.settings import Section, resolve
from tcssa.errors import ArtefactError, CheckpointError, SettingsFileError, TcssaError, UsageError
from tcssa.mil.classifier.classifiers import load_classifier
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.settings import MilSettings, ModelSettings
from tcssa.mil.training.train import train
from tcssa.plugins import is_own_encoder, load_factory
from tcssa.reporter import Silent
from tcssa.slides.settings import ExtractSettings
from tcssa.vqa.settings import VqaSettings

CODE = '''
"""A user's own code; importing it leaves a trace."""
from pathlib import Path

from tcssa.mil.methods.pooling import MeanPooling

Path(__file__).with_name("trace").touch()


def make(feature_dim, num_classes):
    return MeanPooling(feature_dim, num_classes)
'''
NAME = "leaves_a_trace:make"

Imported = Callable[[], bool]


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imported]:
    """A module that can be imported; says whether it was."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "leaves_a_trace.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    yield lambda: (folder / "trace").exists()
    sys.modules.pop("leaves_a_trace", None)


def write_classifier(path: Path, name: str) -> Path:
    facts = {"name": name, "feature_dim": 4, "classes": ["a", "b"], "encoder": None}
    weights = {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)}
    write_tensors(path, weights, {"method": facts})
    return path


def test_a_checkpoint_s_word_imports_nothing(tmp_path: Path, imported: Imported) -> None:
    path = write_classifier(tmp_path / "c.safetensors", NAME)
    for told in (None, "abmil", "leaves_a_trace:other", "leaves_a_trace"):
        with pytest.raises(CheckpointError, match=rf"c\.safetensors: names '{NAME}'") as caught:
            load_classifier(path, told)
        assert caught.value.hint is not None
        assert f"--model {NAME}" in caught.value.hint
    assert not imported()


def test_code_that_the_user_names_too_is_imported(tmp_path: Path, imported: Imported) -> None:
    model = load_factory("model", NAME)(4, 2)
    path = tmp_path / "c.safetensors"
    facts = {"name": NAME, "feature_dim": 4, "classes": ["a", "b"], "encoder": None}
    write_tensors(path, model.state_dict(), {"method": facts})
    loaded = load_classifier(path, NAME)
    assert imported()
    assert type(loaded).__name__ == "MeanPooling"


def test_a_name_with_marks_of_the_shell_is_quoted_in_the_hint(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "c.safetensors", "os:kill; rm -rf ~")
    with pytest.raises(CheckpointError) as caught:
        load_classifier(path)
    assert caught.value.hint is not None
    assert "--model 'os:kill; rm -rf ~'" in caught.value.hint


def test_a_run_of_own_code_trains_resumes_and_is_scored_if_named(
    tmp_path: Path, imported: Imported
) -> None:
    settings = small_run(write_cohort(tmp_path), epochs=2)
    settings = settings.model_copy(update={"model": ModelSettings(name=NAME)})
    run = tmp_path / "run"
    train(settings, run, Silent())
    assert train(settings, run, Silent()).pooled  # the settings in its folder do not hinder it
    assert imported()
    with pytest.raises(CheckpointError, match="names 'leaves_a_trace:make'"):
        evaluate(run, Silent(), device="cpu")
    assert evaluate(run, Silent(), device="cpu", model=NAME).metrics["pooled"]["num_slides"] == 18


CONFIGS: list[tuple[type[Section], str, dict[str, Any], str]] = [
    (MilSettings, f"model: {{name: '{NAME}'}}", {"model": {"name": NAME}}, f"--model {NAME}"),
    (ExtractSettings, f"tissue: '{NAME}'", {"tissue": NAME}, f"--tissue {NAME}"),
    (
        ExtractSettings,
        f"encoder: 'python:{NAME}'",
        {"encoder": f"python:{NAME}"},
        f"--encoder python:{NAME}",
    ),
    (ExtractSettings, "encoder: 'hf:any/one'", {"encoder": "hf:any/one"}, "--encoder hf:any/one"),
    (
        VqaSettings,
        "llm: {trust_remote_code: yes}",
        {"llm": {"trust_remote_code": True}},
        "--trust-remote-code",
    ),
    (VqaSettings, "llm: {allow_hub: true}", {"llm": {"allow_hub": True}}, "--allow-hub"),
]


@pytest.mark.parametrize(("kind", "text", "flags", "option"), CONFIGS)
def test_a_config_s_word_is_refused_and_the_option_is_given(
    kind: type[Section], text: str, flags: dict[str, Any], option: str, tmp_path: Path
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    with pytest.raises(SettingsFileError, match=r"c\.yaml") as caught:
        resolve(kind, flags={}, config=config)
    assert isinstance(caught.value, UsageError)  # which is exit code 2
    assert caught.value.hint is not None
    assert option in caught.value.hint
    assert resolve(kind, flags=flags, config=config) == resolve(kind, flags=flags)


def test_the_environment_names_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text(f"model: {{name: '{NAME}'}}")
    monkeypatch.setenv("TCSSA_MODEL__NAME", NAME)
    settings = resolve(MilSettings, flags={}, config=tmp_path / "c.yaml")
    assert settings.model.name == NAME


def test_another_name_on_the_command_line_does_not_let_a_config_s_pass(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"model: {{name: '{NAME}'}}")
    settings = resolve(MilSettings, flags={"model": {"name": "mean"}}, config=tmp_path / "c.yaml")
    assert settings.model.name == "mean"


def test_a_preset_s_word_is_refused_too() -> None:
    with pytest.raises(SettingsFileError, match="the preset"):
        resolve(MilSettings, flags={}, preset=lambda given: {"model": {"name": NAME}})


def test_names_that_import_nothing_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("encoder: timm:resnet18\ntissue: texture\n")
    settings = resolve(ExtractSettings, flags={}, config=tmp_path / "c.yaml")
    assert (settings.encoder, settings.tissue) == ("timm:resnet18", "texture")


@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        ("python:a:b", True), ("hf:a/b", True), ("timm:hf-hub:a/b", True),
        ("timm:resnet18", False), ("open_clip:ViT-B-32/openai", False), ("uni_v1", False),
        ("onnx:model.onnx", False),
    ],
)  # fmt: skip
def test_encoders_of_a_user_s_choice_are_told_from_known_ones(name: str, is_own: bool) -> None:
    assert is_own_encoder(name) is is_own


def test_an_encoder_named_by_a_model_is_not_run(tmp_path: Path, imported: Imported) -> None:
    from factories import make_compressor
    from slide_files import stained, write_slide

    from tcssa.compressor import save_compressor
    from tcssa_runtimes.archive.compress_slides import compress_slides

    slide = write_slide(tmp_path / "S.tif", stained(600, 600))
    model = tmp_path / "checkpoint.safetensors"
    save_compressor(make_compressor(), model, f"python:{NAME}")
    with pytest.raises(ArtefactError, match="names 'python:leaves_a_trace:make'"):
        compress_slides([slide], tmp_path / "out", model)
    assert not imported()
    named = ExtractSettings(encoder=f"python:{NAME}")
    with pytest.raises((TcssaError, TypeError)):  # the function makes methods, no encoders
        compress_slides([slide], tmp_path / "out", model, named)
    assert imported()
