"""`tcssa inspect slots` on a run whose slots were planted: tables, maps, crops, page, faults."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from cohorts import write_cohort
from command_line import SMALL, Run
from html_pages import read_page
from slide_files import write_slide
from slot_runs import plant, planted_model

from tcssa.mil.training.prototypes import PrototypePatch, write_prototypes
from tcssa_cli.main import run as run_tcssa

PATCH_PX, MOST_PATCHES = 64, 16


def red_of(patch: int) -> int:
    """The red with which a patch's square of the slide is filled."""
    return 15 * patch


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features, a run, and slides (but for the last) with a colour for each patch."""
    folder = tmp_path_factory.mktemp("planted")
    cohort = write_cohort(folder)
    arguments = ["train-mil", "--labels", cohort.labels, "--features", cohort.features, *SMALL]
    assert run_tcssa([str(a) for a in [*arguments, "--top-k", 1, "--out", folder / "run"]]) == 0
    plant(folder / "run", folder / "features")
    for fold in (folder / "run").glob("fold-*"):  # of the features that are there now
        write_prototypes(fold, [PrototypePatch(slot, "s00", slot, 0.5) for slot in range(4)])
    (folder / "slides").mkdir()
    pixels = np.full((4 * PATCH_PX, MOST_PATCHES * PATCH_PX, 3), 240, np.uint8)
    for patch in range(MOST_PATCHES):
        left = patch * PATCH_PX
        pixels[PATCH_PX : 2 * PATCH_PX, left : left + PATCH_PX] = (red_of(patch), 90, 160)
    for path in sorted((folder / "features").glob("*.h5"))[:-1]:
        write_slide(folder / "slides" / f"{path.stem}.tif", pixels)
    return folder


@pytest.fixture(scope="module")
def inspected(planted: Path) -> Path:
    """What the command wrote, slides at hand."""
    out = planted / "out"
    arguments = [planted / "run", "--slides", planted / "slides", "--all-maps", "--out", out]
    assert run_tcssa(["inspect", "slots", *map(str, arguments)]) == 0
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_tables_say_what_was_planted(inspected: Path) -> None:
    slots = rows_of(inspected / "slots.csv")
    assert {(row["fold"], row["slot"]) for row in slots} == {
        (str(fold), str(slot)) for fold in range(3) for slot in range(4)
    }
    assert all((float(row["any_share"]) == 0) == (row["slot"] == "3") for row in slots)
    tested = rows_of(inspected / "association.csv")
    planted_ones = [row for row in tested if row["slot"] == "2"]
    assert all(float(row["auc"]) == 1 and float(row["q_value"]) <= 0.2 for row in planted_ones)
    assert all(float(row["p_value"]) == 1 for row in tested if row["slot"] == "3")
    slides = rows_of(inspected / "slides.csv")
    assert len(slides) == 18
    assert {row["empty_slots"] for row in slides} == {"1"}
    assert rows_of(inspected / "epochs.csv")[0].keys() >= {"effective_slots", "unused_slots"}
    plane = rows_of(inspected / "embedding.csv")
    assert len(plane) == sum(int(row["num_patches"]) for row in slides)


def silhouette(rows: np.ndarray) -> float:
    """Of patches by their planted slots, by its definition."""
    slots, distances = rows[:, :4].argmax(axis=1), np.linalg.norm(rows[:, None] - rows, axis=2)
    scores = []
    for slot, of_patch in zip(slots, distances, strict=True):
        to_slot = {k: of_patch[slots == k].sum() / (slots == k).sum() for k in set(slots)}
        size = (slots == slot).sum()
        own = to_slot.pop(slot) * size / (size - 1)  # not counting itself
        other = min(to_slot.values())
        scores.append((other - own) / max(own, other))
    return float(np.mean(scores))


def test_the_silhouette_of_a_fold_is_that_of_its_test_patches(
    planted: Path, inspected: Path
) -> None:
    for fold in rows_of(inspected / "folds.csv"):
        patches = []
        for slide in rows_of(inspected / "slides.csv"):
            if slide["fold"] == fold["fold"]:
                with h5py.File(planted / "features" / f"{slide['slide_id']}.h5") as file:
                    patches.append(np.asarray(file["features"], np.float64))
        expected = silhouette(np.concatenate(patches))
        assert float(fold["silhouette"]) == pytest.approx(expected, abs=1e-5)


def test_geojson_has_each_patch_where_it_lies(planted: Path, inspected: Path) -> None:
    (path,) = inspected.glob("maps/fold-*/s01.geojson")
    content = json.loads(path.read_text())
    with h5py.File(planted / "features" / "s01.h5") as file:
        coords, features = np.asarray(file["coords"]), np.asarray(file["features"])
    assert len(content["features"]) == len(coords)
    for feature, corner, row in zip(content["features"], coords, features, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        points = np.array(ring)
        np.testing.assert_array_equal(points.min(axis=0), corner)
        np.testing.assert_array_equal(points.max(axis=0), corner + PATCH_PX)
        x, y = points.T  # the shoelace formula: a simple square of the right size
        assert abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2 == PATCH_PX**2
        properties = feature["properties"]
        assert properties["classification"]["name"] == f"slot {row[:4].argmax()}"
        assert len(properties["classification"]["color"]) == 3
        assert 0.99 < properties["measurements"]["gate weight"] < 1
    colours = {
        (
            f["properties"]["classification"]["name"],
            tuple(f["properties"]["classification"]["color"]),
        )
        for other in path.parent.glob("*.geojson")
        for f in json.loads(other.read_text())["features"]
    }
    assert len(colours) == 3, "a slot has one colour on all slides of its fold"


def test_exemplars_are_cropped_where_their_patches_lie(inspected: Path) -> None:
    rows = rows_of(inspected / "exemplars.csv")
    began, *of_slot = [row for row in rows if (row["fold"], row["slot"]) == ("0", "2")]
    assert (began["rank"], began["weight"]) == ("-1", "")  # a training patch: its prototype's
    weights = [float(row["weight"]) for row in of_slot]
    assert weights == sorted(weights, reverse=True)
    by_slide = [row["slide_id"] for row in of_slot]
    assert max(by_slide.count(name) for name in by_slide) <= 2
    assert all(row["x"] == str(int(row["patch"]) * PATCH_PX) for row in rows)
    sheet = cv2.imread(str(inspected / "exemplars" / "fold-0.jpg"))
    assert sheet is not None
    # the row at the top is the slot with the most mass; its first crop, at the label's right
    use = [row for row in rows_of(inspected / "slots.csv") if row["fold"] == "0"]
    top = max(use, key=lambda row: float(row["mass_share"]))["slot"]
    first = next(row for row in rows if (row["fold"], row["slot"]) == ("0", top))
    blue, green, red = sheet[56, 118 + 52].tolist()
    assert red == pytest.approx(red_of(int(first["patch"])), abs=6)
    assert (green, blue) == (pytest.approx(90, abs=6), pytest.approx(160, abs=6))


def test_the_page_holds_its_pictures(inspected: Path) -> None:
    assert "What to do next" in read_page(inspected / "slots.html").text
    page = (inspected / "slots.html").read_text()
    assert page.count("data:image/png;base64,") == 6 + 18
    assert page.count("data:image/jpeg;base64,") == 3
    assert "1 dead" in page or "dead slots" in page


def test_missing_slides_and_thumbnails_are_counted_and_named(tcssa: Run, planted: Path) -> None:
    out = planted / "some"
    arguments = ["--slides", planted / "slides", "--slide", "s17", "--out", out, "--json"]
    done = tcssa("inspect", "slots", planted / "run", *arguments)
    assert done.code == 0
    told = "\n".join(done.json["warnings"])
    assert "no crops of 1 slide: s17 (no slide file)" in told
    assert "1 maps are drawn on the grid of patches" in told
    assert [Path(path).name for path in done.json["maps"]] == ["s17.png"]
    assert all(fold["dead_slots"] == [3] for fold in done.json["folds"])


def test_without_coordinates_there_are_tables_and_no_maps(
    tcssa: Run, planted: Path, tmp_path: Path
) -> None:
    shutil.copytree(planted / "features", tmp_path / "moved")
    for path in (tmp_path / "moved").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            del file["coords"]
    arguments = ["--features", tmp_path / "moved", "--out", tmp_path / "out", "--json"]
    done = tcssa("inspect", "slots", planted / "run", *arguments)
    assert done.code == 0
    assert "18 slides without a map and crops" in done.json["warnings"][0]
    assert done.json["maps"] == []
    assert rows_of(tmp_path / "out" / "exemplars.csv")[0]["x"] == ""


def test_faults_are_one_line(tcssa: Run, planted: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    run = planted / "run"
    assert (
        "no test slides of this run: s99"
        in tcssa("inspect", "slots", run, "--slide", "s99", *out).stderr
    )
    gone = tcssa("inspect", "slots", run, "--features", tmp_path / "gone", *out)
    assert gone.code == 1
    assert "gone" in gone.stderr
    done = tcssa("inspect", "slots", tmp_path, *out)
    assert "is no run directory" in done.stderr
    other = tmp_path / "abmil"
    shutil.copytree(run, other)
    settings = (other / "config.resolved.yaml").read_text()
    (other / "config.resolved.yaml").write_text(settings.replace("name: tcssa", "name: abmil"))
    done = tcssa("inspect", "slots", other, *out)
    assert done.code == 1
    assert "is a run of --model abmil, which has no slots" in done.stderr


def test_a_path_needs_no_name_of_a_command(tcssa: Run, planted: Path) -> None:
    short = tcssa("inspect", planted / "run", "--json")
    assert short.code == 0
    assert short.json == tcssa("inspect", "path", planted / "run", "--json").json
    assert tcssa("inspect", "--json", planted / "run").json == short.json
    assert tcssa("inspect").code == 2


def test_slides_that_are_not_the_run_s_own_are_seen_by_its_final_model(
    planted: Path, tmp_path: Path, tcssa: Run
) -> None:
    planted_model(num_classes=2).save(planted / "run" / "final" / "checkpoint.safetensors")
    for number, name in enumerate(("new0", "new1", "s03")):
        source = planted / "features" / f"s{number:02d}.h5"
        (tmp_path / "new").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "new" / f"{name}.h5")
    found = tcssa(
        "inspect", "slots", planted / "run", "--features", tmp_path / "new", "--all-maps",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert found.code == 0
    told = " ".join(found.stderr.split())
    assert "holds 1 of the 18 slides of the run's cohort: its 3 slides are seen by" in told
    assert "1 of 3 slides are of patients that the run was trained on" in told
    slides = rows_of(tmp_path / "out" / "slides.csv")
    assert [row["slide_id"] for row in slides] == ["new0", "new1", "s03"]
    assert {row["label"] for row in slides} == {""}
    assert {path.name for path in (tmp_path / "out" / "maps" / "final").glob("*.png")} == {
        "new0.png", "new1.png", "s03.png"
    }  # fmt: skip
    assert rows_of(tmp_path / "out" / "association.csv") == []
    page = read_page(tmp_path / "out" / "slots.html").text
    assert "3 slides beside the run's own, seen with its final model" in page
    assert "log-odds of the predicted class" in page
    assert "Slots and the label" not in page
