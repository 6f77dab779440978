"""`tcssa heatmap` on small runs: files, sums, resume, faults."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tifffile
from cohorts import write_cohort
from command_line import SMALL, Run
from factories import write_bag
from html_pages import read_page
from slide_files import draw_slides, write_slide

from tcssa.mil.evidence.reference import REFERENCE_FILE
from tcssa_cli.main import run as run_tcssa

SIDE = 224
FILES = {
    "evidence/{}.csv", "geojson/{}.geojson", "maps/{}.png", "overlays/{}.ome.tif",
    "patches/{}.jpg", "slides/{}.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of features, slides of two of them, and runs of tcssa and abmil."""
    folder = tmp_path_factory.mktemp("trained")
    cohort = write_cohort(folder, 12)
    for path in (folder / "features").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["coords"].attrs["mpp_level0"] = 0.5
    for name, options in (("tcssa", SMALL), ("abmil", ("--folds", "3", "--epochs", "1"))):
        run_tcssa(
            ["train-mil", "--labels", str(cohort.labels), "--features", str(cohort.features),
             "--model", name, *options, "--out", str(folder / name)]
        )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 255, (6 * SIDE, 5 * SIDE, 3), dtype=np.uint8)
    (folder / "slides").mkdir()
    for name in ("s00", "s01"):
        write_slide(folder / "slides" / f"{name}.tif", pixels)
    (folder / "new").mkdir()
    for name in ("s00", "s01"):
        shutil.copy(folder / "features" / f"{name}.h5", folder / "new")
    return folder


@pytest.fixture(scope="module")
def drawn(trained: Path) -> Path:
    """What the command wrote of two slides, their files at hand."""
    out = trained / "out"
    arguments = [trained / "tcssa", trained / "new", "--slides", trained / "slides", "--out", out]
    assert run_tcssa(["heatmap", *map(str, arguments)]) == 0
    return out


def test_inspect_knows_the_folder(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tcssa(["inspect", str(drawn), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["facts"]["slides"]) == ("heat maps", 2)
    assert {"heatmaps.csv", "report.html"} <= set(found["facts"]["files"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_slide_has_its_files(drawn: Path) -> None:
    found = {str(path.relative_to(drawn)) for path in drawn.rglob("*") if path.is_file()}
    slides = {name.format(slide) for name in FILES for slide in ("s00", "s01")}
    assert found == slides | {"report.html", "heatmaps.csv", "failed.csv"}
    assert rows_of(drawn / "failed.csv") == []
    page = read_page(drawn / "report.html")
    assert "s00" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 4


def test_of_a_run_by_case_it_says_that_each_slide_is_drawn_by_itself(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "abmil", run)
    settings = run / "config.resolved.yaml"
    settings.write_text(settings.read_text().replace("unit: slide", "unit: case"))
    arguments = [run, trained / "new" / "s00.h5", "--out", tmp_path / "out"]
    assert run_tcssa(["heatmap", *map(str, arguments)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "each slide is drawn by itself, as if it were the only one of its patient" in said


def test_evidence_sums_to_the_slide_s_log_odds_less_those_compared_with(drawn: Path) -> None:
    for slide in rows_of(drawn / "heatmaps.csv"):
        rows = rows_of(drawn / "evidence" / f"{slide['slide_id']}.csv")
        assert len(rows) == int(slide["num_patches"])
        log_odds = np.log(float(slide["prob_b"]) / float(slide["prob_a"]))
        for name, sign in (("b", 1), ("a", -1)):
            total = sum(float(row[f"evidence for {name}"]) for row in rows)
            compared = float(slide[f"compared for {name}"])
            assert total == pytest.approx(sign * log_odds - compared, abs=1e-4)
            assert compared < 0, "slides of the other class speak against it"
        assert sum(float(row["attention"]) for row in rows) == pytest.approx(len(rows), rel=1e-4)
        assert slide["leading"] == ("b" if log_odds > 0 else "a")


def test_geojson_has_a_detection_a_patch_with_measurements(drawn: Path) -> None:
    rows = rows_of(drawn / "evidence" / "s01.csv")
    features = json.loads((drawn / "geojson" / "s01.geojson").read_text())["features"]
    leading = {row["slide_id"]: row["leading"] for row in rows_of(drawn / "heatmaps.csv")}["s01"]
    for row, feature in zip(rows, features, strict=True):
        properties = feature["properties"]
        measured = properties["measurements"]
        value = float(row[f"evidence for {leading}"])
        assert measured[f"evidence for {leading}"] == pytest.approx(value, rel=1e-5)
        side = "for" if value > 0 else "against"
        assert properties["classification"]["name"] == f"{side} {leading}"
        assert 0 <= measured["attention, percentile"] <= 100
        assert feature["geometry"]["coordinates"][0][0] == [float(row["x"]), float(row["y"])]


def test_the_overlay_is_a_pyramid_of_numbers_in_the_slide_s_frame(drawn: Path) -> None:
    rows = rows_of(drawn / "evidence" / "s00.csv")
    with tifffile.TiffFile(drawn / "overlays" / "s00.ome.tif") as tiff:
        (series,) = tiff.series
        values, metadata = series.asarray(), tiff.ome_metadata or ""
    assert values.shape[0] == 3
    assert 'Name="attention"' in metadata
    assert 'PhysicalSizeX="14.0"' in metadata  # 28 pixels of 0.5 µm
    for row in rows[:5]:
        x, y = int(row["x"]) // 28 + 4, int(row["y"]) // 28 + 4
        assert values[0, y, x] == pytest.approx(float(row["evidence for a"]), rel=1e-5)


def test_the_patches_shown_are_those_of_the_slide(drawn: Path) -> None:
    sheet = cv2.imread(str(drawn / "patches" / "s00.jpg"))
    assert sheet is not None
    assert sheet.shape[1] > 8 * 168
    assert sheet.std() > 20


def test_slides_that_are_done_are_skipped_and_others_drawn(
    trained: Path, drawn: Path, tcssa: Run
) -> None:
    again = ["heatmap", trained / "tcssa", trained / "new", "--slides", trained / "slides"]
    before = {path: path.stat().st_mtime_ns for path in drawn.glob("maps/*.png")}
    assert tcssa(*again, "--out", drawn, "--json").json["skipped"] == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (drawn / "maps" / "s01.png").unlink()
    assert tcssa(*again, "--out", drawn, "--json").json["skipped"] == 1
    assert (drawn / "maps" / "s01.png").is_file()


def test_attention_methods_and_one_scale_for_all(trained: Path, tmp_path: Path, tcssa: Run) -> None:
    base = ["heatmap", trained / "abmil", trained / "new", "--out", tmp_path / "out", "--json"]
    alone = tcssa(*base)
    assert alone.code == 0
    assert {slide["scheme"] for slide in alone.json["slides"]} == {"exact"}
    assert "2 slides drawn on the grid of patches" in " ".join(alone.json["warnings"])
    assert not (tmp_path / "out" / "patches").exists()  # without slides there are no pixels
    shared = tcssa(*base, "--same-scale", "--scale", "value", "--class", "a")
    assert shared.json["skipped"] == 0
    assert tcssa(*base, "--same-scale", "--scale", "value", "--class", "a").json["skipped"] == 2


def test_a_run_that_holds_nothing_to_compare_with_says_so(
    trained: Path, tmp_path: Path, tcssa: Run
) -> None:
    shutil.copytree(trained / "abmil", tmp_path / "run")
    (tmp_path / "run" / REFERENCE_FILE).unlink()
    found = tcssa("heatmap", tmp_path / "run", trained / "new", "--out", tmp_path / "out")
    assert found.code == 0
    assert "no training slides to compare with" in found.stderr
    (first, *_) = rows_of(tmp_path / "out" / "heatmaps.csv")
    assert not any(column.startswith("compared") for column in first)
    rows = rows_of(tmp_path / "out" / "evidence" / "s00.csv")
    log_odds = np.log(float(first["prob_b"]) / float(first["prob_a"]))
    assert sum(float(row["evidence for b"]) for row in rows) == pytest.approx(log_odds, abs=1e-4)


def test_a_broken_slide_is_named_and_the_others_are_drawn(
    trained: Path, tmp_path: Path, tcssa: Run
) -> None:
    shutil.copytree(trained / "new", tmp_path / "new")
    with h5py.File(tmp_path / "new" / "s01.h5", "r+") as file:
        file["features"][2, 3] = np.nan
    found = tcssa("heatmap", trained / "tcssa", tmp_path / "new", "--out", tmp_path / "out")
    assert found.code == 1
    assert "s01" in found.stdout
    assert "row 2" in found.stdout
    (failed,) = rows_of(tmp_path / "out" / "failed.csv")
    assert failed["slide_id"] == "s01"
    assert (tmp_path / "out" / "maps" / "s00.png").is_file()


def test_an_unknown_class_is_one_line(trained: Path, tmp_path: Path, tcssa: Run) -> None:
    found = tcssa(
        "heatmap", trained / "tcssa", trained / "new", "--out", tmp_path / "out", "--class", "z"
    )
    assert found.code == 2
    assert "the run knows no z" in found.stderr
    assert "it knows a, b" in found.stderr


def test_slides_need_a_run_whose_features_can_be_made_here(
    trained: Path, tmp_path: Path, tcssa: Run
) -> None:
    found = tcssa("heatmap", trained / "tcssa", trained / "slides", "--out", tmp_path / "out")
    assert found.code == 2
    assert "which tcssa cannot load" in found.stderr
    assert "give their features" in found.stderr


def test_slides_are_extracted_as_the_run_s_features_were(tmp_path: Path, tcssa: Run) -> None:
    rows = ["case_id,slide_id,label"]
    for i in range(12):
        path = write_bag(
            tmp_path / "features" / f"s{i:02d}.h5", 8, 1280, i, i % 2, "efficientnet_lite0"
        )
        with h5py.File(path, "r+") as file:
            file["coords"].attrs.update({"mpp_target": 1.0, "patch_size": 112, "overlap": 0})
        rows.append(f"p{i:02d},s{i:02d},{'ab'[i % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    trained = tcssa(
        "train-mil", "--labels", tmp_path / "labels.csv", "--features", tmp_path / "features",
        *SMALL, "--epochs", 1, "--out", tmp_path / "run",
    )  # fmt: skip
    assert trained.code == 0
    (slide,) = draw_slides(tmp_path / "slides", 1, width=500, height=400)
    (tmp_path / "slides" / "broken.tif").write_bytes(slide.read_bytes()[:3000])
    found = tcssa("heatmap", tmp_path / "run", tmp_path / "slides", "--out", tmp_path / "out")
    assert "mpp 1.0, patch_size 112, overlap 0" in found.stderr
    assert found.code == 1
    (failed,) = rows_of(tmp_path / "out" / "failed.csv")
    assert failed["slide_id"] == "broken"
    (drawn,) = rows_of(tmp_path / "out" / "heatmaps.csv")
    assert drawn["slide_id"] == slide.stem
    assert (tmp_path / "out" / "patches" / f"{slide.stem}.jpg").is_file()


def test_features_without_places_have_a_table_and_no_map(
    trained: Path, tmp_path: Path, tcssa: Run
) -> None:
    with h5py.File(trained / "new" / "s00.h5") as file:
        features = file["features"][:]
    np.save(tmp_path / "s00.npy", features)
    found = tcssa("heatmap", trained / "abmil", tmp_path / "s00.npy", "--out", tmp_path / "out")
    assert found.code == 0
    assert "1 slide without a map" in found.stderr
    rows = rows_of(tmp_path / "out" / "evidence" / "s00.csv")
    assert len(rows) == len(features)
    assert rows[0]["x"] == ""


def test_an_encoded_archive_is_drawn_without_features(
    trained: Path, drawn: Path, tmp_path: Path, tcssa: Run
) -> None:
    encode = ["encode", trained / "new", "--model", trained / "tcssa", "--out", tmp_path / "slots"]
    assert tcssa(*encode, "--assignments").code == 0
    draw = ["heatmap", trained / "tcssa", tmp_path / "slots", "--out", tmp_path / "out"]
    found = tcssa(*draw, "--json")
    assert found.code == 0
    assert {slide["scheme"] for slide in found.json["slides"]} == {"by slot"}
    columns = ("slide_id", "num_patches", "leading", "prob_a", "prob_b")
    of_features = rows_of(drawn / "heatmaps.csv")
    for row, own in zip(rows_of(tmp_path / "out" / "heatmaps.csv"), of_features, strict=True):
        assert [row[name] for name in columns[:3]] == [own[name] for name in columns[:3]]
        assert float(row["prob_b"]) == pytest.approx(float(own["prob_b"]), abs=1e-4)
    kept, whole = (rows_of(folder / "evidence" / "s00.csv") for folder in (tmp_path / "out", drawn))
    assert [(row["x"], row["y"]) for row in kept] == [(row["x"], row["y"]) for row in whole]
    for name in ("slots/s00.png", "maps/s00.png", "geojson/s01.geojson", "overlays/s01.ome.tif"):
        assert (tmp_path / "out" / name).is_file()
    assert tcssa(*draw, "--json").json["skipped"] == 2
    other = tcssa("heatmap", trained / "abmil", tmp_path / "slots", "--out", tmp_path / "other")
    assert other.code == 1
    assert "a run of --model abmil, which has no slots of its own" in " ".join(other.stdout.split())


def test_an_archive_of_another_model_is_refused(trained: Path, tmp_path: Path, tcssa: Run) -> None:
    fold = trained / "tcssa" / "fold-0" / "checkpoint.safetensors"
    encode = ["encode", trained / "new", "--model", fold, "--out", tmp_path / "slots"]
    assert tcssa(*encode, "--assignments").code == 0
    found = tcssa("heatmap", trained / "tcssa", tmp_path / "slots", "--out", tmp_path / "out")
    assert found.code == 1
    assert "its slots are not those that the run's model makes" in " ".join(found.stdout.split())
