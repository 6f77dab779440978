"""What a run warns of before it predicts slides: its own patients, and patches of another width."""

from pathlib import Path

import pytest
from cohorts import gridded_run, state_grid
from factories import write_bag

from tcssa.errors import UsageError
from tcssa.features import find_bags
from tcssa.mil.evaluation.evaluate import evaluate
from tcssa.mil.prediction.doubts import doubts_about
from tcssa.mil.prediction.given_slides import open_slide
from tcssa.mil.results.finished import read_finished
from tcssa.reporter import Silent
from tcssa.run import require_own_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gridded_run(tmp_path_factory)


def warnings(run: Path, places: list[Path]) -> list[str]:
    trained = read_finished(run)
    opened = [open_slide(ref, trained, {})[0] for ref in find_bags(places)]
    return doubts_about(trained, [given for given in opened if given is not None])


def test_slides_that_the_run_was_trained_on_are_no_test(run: Path) -> None:
    (warning,) = warnings(run, [run.parent / "features"])
    assert "18 of 18 slides are of patients that the run was trained on" in warning
    assert "s00, s01, s02, s03, s04 and 13 more" in warning


@pytest.mark.parametrize(
    ("mpp", "patch_size", "doubtful"), [(0.5, 224, False), (1.0, 112, False), (1.0, 224, True)]
)
def test_patches_of_another_width_are_named(
    run: Path, tmp_path: Path, mpp: float, patch_size: int, doubtful: bool
) -> None:
    path = write_bag(tmp_path / "new" / "n.h5", 20, seed=5)
    state_grid(path, mpp, patch_size)
    found = warnings(run, [tmp_path / "new"])
    assert bool(found) == doubtful
    if doubtful:
        assert "patches 112 µm wide, and those of 1 of 1 slide are of another width" in found[0]


def test_eval_names_patches_of_another_width(run: Path, tmp_path: Path) -> None:
    rows = ["slide_id,label"]
    for index in range(4):
        state_grid(write_bag(tmp_path / "new" / f"n{index}.h5", 20, seed=index), 1.0, 224)
        rows.append(f"n{index},{'ab'[index % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    reporter = Silent()
    new = {"labels": tmp_path / "labels.csv", "features": tmp_path / "new"}
    evaluate(run, reporter, **new, out=tmp_path / "scored")
    assert any("those of 4 of 4 slides are of another width" in w for w in reporter.warnings)


def test_a_folder_of_another_command_is_not_written_to(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a run"):
        require_own_folder(run, "prediction.json")
    (tmp_path / "heatmaps.csv").touch()
    require_own_folder(tmp_path, "heatmaps.csv")
    with pytest.raises(UsageError, match="holds what tcssa heatmap wrote"):
        require_own_folder(tmp_path, "prediction.json")


def test_a_job_of_features_is_not_written_to(tmp_path: Path) -> None:
    features = tmp_path / "job" / "20x_224px_0px_overlap" / "features_e"
    features.mkdir(parents=True)
    (features / "job.json").touch()
    for folder in (tmp_path / "job", features):
        with pytest.raises(UsageError, match="holds a job of tcssa extract or encode"):
            require_own_folder(folder, "prediction.json")
    require_own_folder(tmp_path, "prediction.json")  # predict keeps its own job there
