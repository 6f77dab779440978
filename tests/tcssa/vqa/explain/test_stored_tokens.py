"""Questions about tokens that an exported projector made."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from factories import write_bag
from vqa_runs import write_tiny_run

from tcssa.errors import FeatureFileError
from tcssa.reporter import Silent
from tcssa.vqa.explain.ask import answer_question
from tcssa.vqa.explain.ask_settings import AskSettings
from tcssa.vqa.explain.slide_session import Answer
from tcssa_exporters import export_model, open_source
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.encode import encode

SETTINGS = AskSettings(device="cpu", max_new_tokens=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a slide's features, and its tokens by the run's projector in ONNX."""
    folder = tmp_path_factory.mktemp("tokens")
    run = write_tiny_run(folder)
    write_bag(folder / "features" / "S1.h5", 60, seed=4)
    export_model(open_source(run, "projector"), folder / "projector")
    with open_runtime(folder / "projector", device="cpu") as runtime:
        encode([folder / "features"], folder / "encoded", runtime)
    return folder


def ask(folder: Path, *options: str, reporter: Silent | None = None, **place: Path) -> Answer:
    answer, _ = answer_question(
        folder / "run", "What is it?", options, reporter or Silent(), SETTINGS, **place
    )
    return answer


def encoded(folder: Path) -> Path:
    return folder / "encoded" / "slide_features_tcssa" / "S1.h5"


def test_an_answer_from_tokens_is_that_from_features(folder: Path) -> None:
    reporter = Silent()
    before = ask(folder, "yes", "no", "maybe", features=folder / "features" / "S1.h5")
    after = ask(folder, "yes", "no", "maybe", tokens=encoded(folder), reporter=reporter)
    assert reporter.warnings == []
    assert before.probabilities is not None
    assert after.probabilities == pytest.approx(before.probabilities, abs=1e-4)
    effects = [{slot.slot: slot.effect for slot in answer.slots} for answer in (before, after)]
    assert effects[1] == pytest.approx(effects[0], abs=1e-4)
    written = [ask(folder, tokens=encoded(folder)), ask(folder, features=folder / "features/S1.h5")]
    assert written[0].text == written[1].text


def changed(folder: Path, tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "S1.h5"
    path.write_bytes(encoded(folder).read_bytes())
    with h5py.File(path, "a") as file:
        kept = {**file["tokens"].attrs, **more}
        values = kept.pop("values", file["tokens"][:])
        del file["tokens"]
        if values is not None:
            file.create_dataset("tokens", data=values).attrs.update(
                {name: value for name, value in kept.items() if value is not None}
            )
    return path


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"values": None}, "holds no tokens of a projector"),
        ({"values": np.zeros((6, 12), np.float32)}, "tokens of 12 numbers, the model takes 64"),
        ({"values": np.full((6, 64), np.nan, np.float32)}, "no finite numbers"),
        ({"projector_sha256": "ab" * 32}, "tokens of another projector"),
    ],
)
def test_tokens_that_are_none_of_the_model_are_refused(
    folder: Path, tmp_path: Path, more: dict[str, object], said: str
) -> None:
    with pytest.raises(FeatureFileError, match=said):
        ask(folder, "yes", "no", tokens=changed(folder, tmp_path, **more))


def test_tokens_that_do_not_name_their_projector_are_taken_with_a_warning(
    folder: Path, tmp_path: Path
) -> None:
    reporter = Silent()
    path = changed(folder, tmp_path, projector_sha256=None)
    assert ask(folder, "yes", "no", tokens=path, reporter=reporter).predicted in (0, 1)
    assert "does not say which projector" in reporter.warnings[0]
