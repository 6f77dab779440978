"""Model cards of compressors and artefacts; those of runs are in tests/tcssa_cli/test_hub.py."""

from pathlib import Path

import pytest
import yaml
from exports import Exported
from factories import make_compressor

from tcssa.compressor import save_compressor
from tcssa.publishing.card import model_card
from tcssa.publishing.model_files import model_files


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "mine.safetensors"


def front_matter(card: str) -> dict[str, object]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def test_the_card_of_a_compressor_names_its_encoder_and_its_licence(checkpoint: Path) -> None:
    save_compressor(make_compressor(16), checkpoint, "uni_v2")
    card = model_card(model_files(checkpoint), "hf:lab/lung", "lung")
    assert front_matter(card)["library_name"] == "tcssa"
    assert front_matter(card)["base_model"] == "MahmoodLab/UNI2-h"
    assert "Its licence is CC-BY-NC-ND-4.0; its weights are in MahmoodLab/UNI2-h, where" in card
    assert "tcssa encode FEATURES --model hf:lab/lung --out encoded" in card
    assert "stand with the run of that checkpoint, not here" in card


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("hf:lab/own", "`hf:lab/own`, which is not in the catalogue of tcssa"),
        (None, "do not name their encoder"),
    ],
)
def test_an_encoder_that_is_not_known_is_said_to_be_so(
    checkpoint: Path, encoder: str | None, said: str
) -> None:
    save_compressor(make_compressor(16), checkpoint, encoder)
    card = model_card(model_files(checkpoint))
    assert said in card
    assert "base_model" not in front_matter(card)


def test_the_card_of_an_artefact_says_what_it_was_compared_with(exported: Exported) -> None:
    model = model_files(exported())
    card = model_card(model)
    assert "| compared with torch | passed with onnxruntime" in card
    for name, sha256 in model.checksums().items():
        assert f"| {name} | `{sha256}` |" in card


def test_a_name_from_a_file_stays_in_its_cell(checkpoint: Path) -> None:
    save_compressor(make_compressor(16), checkpoint, "test_encoder")
    card = model_card(model_files(checkpoint), name="a | b\n# c")
    assert "# a \\| b # c\n" in card
