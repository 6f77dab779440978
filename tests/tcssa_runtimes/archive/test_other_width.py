"""Patches of another width than those of training: one line names the slides."""

import json
import shutil
from pathlib import Path
from shutil import copytree

import pytest
from cohorts import gridded_run, state_grid
from exports import Exported
from factories import write_bag

from tcssa.artefact import Artefact
from tcssa.errors import MissingDataError
from tcssa.features import find_bags
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.mil.prediction.given_slides import open_slide
from tcssa.reporter import Silent
from tcssa.slides import ExtractSettings
from tcssa_exporters import open_source
from tcssa_runtimes import encode, open_runtime
from tcssa_runtimes.archive.compress_slides import compress_slides
from tcssa_runtimes.prediction.artefact_model import ArtefactModel

GRID = ExtractionRecord(mpp=0.5, patch_size=224, overlap=0)
OTHER = "patches 112 µm wide, and those of 1 of 3 slides are of another width"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gridded_run(tmp_path_factory)


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """A slide of the run's grid, one of another, and one that states none."""
    state_grid(write_bag(tmp_path / "bags" / "same.h5", 20), 1.0, 112)
    state_grid(write_bag(tmp_path / "bags" / "wide.h5", 20), 0.5, 448)
    write_bag(tmp_path / "bags" / "silent.h5", 20)
    return tmp_path / "bags"


def stating(artefact: Path, folder: Path) -> Path:
    """Copy an artefact, and let it say how the patches of its training were cut."""
    copytree(artefact, folder)
    Artefact.read(folder).model_copy(update={"extraction": GRID}).write(folder)
    return folder


def test_encode_names_slides_of_another_width_than_the_run_s(
    run: Path, bags: Path, tmp_path: Path
) -> None:
    reporter = Silent()
    report = encode([bags], tmp_path / "out", open_runtime(run, device="cpu"), reporter)
    assert (report.num_encoded, report.other_width) == (3, ["wide"])
    (warning,) = reporter.warnings
    assert f"the model was trained on {OTHER}, so their slots may mean little: wide;" in warning


def test_what_is_exported_states_the_grid_of_its_run(run: Path, tmp_path: Path) -> None:
    assert open_source(run).extraction.stated() == GRID.stated()
    assert open_source(run, "classifier").extraction.stated() == GRID.stated()
    checkpoint = run / "fold-0" / "checkpoint.safetensors"
    assert open_source(checkpoint).extraction.patch_um == 112
    shutil.copy(run / "run.json", tmp_path)
    loose = shutil.copy(checkpoint, tmp_path / "other.safetensors")
    assert open_source(loose).extraction.patch_um is None


def test_encode_names_slides_of_another_width_than_the_artefact_s(
    exported: Exported, bags: Path, tmp_path: Path
) -> None:
    reporter = Silent()
    artefact = stating(exported(), tmp_path / "artefact")
    encode([bags], tmp_path / "out", open_runtime(artefact), reporter)
    assert OTHER in reporter.warnings[-1]
    again = Silent()
    encode([bags], tmp_path / "again", open_runtime(exported()), again)
    assert again.warnings == []


def test_an_artefact_doubts_slides_of_another_width(
    exported_with_head: Exported, bags: Path, tmp_path: Path
) -> None:
    made = exported_with_head(pool="mean")
    (folder,) = {path.parent for path in made.rglob("artefact.json")}
    with open_runtime(stating(folder, tmp_path / "artefact")) as runtime:
        model = ArtefactModel(runtime)
        opened = [open_slide(ref, model, {})[0] for ref in find_bags([bags])]
        (doubt,) = model.doubts([given for given in opened if given is not None])
    assert f"the artefact was trained on {OTHER}, so predictions may be wrong: wide" in doubt


def test_an_artefact_of_before_states_no_grid(exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "artefact"
    copytree(exported(), folder)
    content = json.loads((folder / "artefact.json").read_text())
    del content["extraction"]
    (folder / "artefact.json").write_text(json.dumps(content))
    assert Artefact.read(folder).extraction == ExtractionRecord()


@pytest.mark.parametrize(("patch_size", "is_other"), [(224, False), (448, True)])
def test_extract_compress_says_that_its_grid_is_of_another_width(
    run: Path, tmp_path: Path, patch_size: int, is_other: bool
) -> None:
    reporter = Silent()
    settings = ExtractSettings(encoder="efficientnet_lite0_random", patch_size=patch_size)
    with pytest.raises(MissingDataError):
        compress_slides([tmp_path / "s.svs"], tmp_path / "job", run, settings, reporter)
    warned = [each for each in reporter.warnings if "the model was trained on patches" in each]
    assert len(warned) == is_other
    assert all("112 µm wide, and these are 224 µm" in each for each in warned)
