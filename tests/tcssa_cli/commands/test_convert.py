"""`tcssa convert` as a user gives it."""

from pathlib import Path

import h5py
import numpy as np
from command_line import Run
from factories import write_bag


def test_a_manifest_tells_the_resolution_though_the_slides_are_elsewhere(
    tcssa: Run, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_bag(tmp_path / "in" / f"{name}.h5")
    manifest = tmp_path / "slides.csv"
    manifest.write_text("wsi,mpp\nelsewhere/a.svs,0.25\nelsewhere/b.svs,\n")
    arguments = ("convert", tmp_path / "in", "--to", "stamp", "--out", tmp_path / "out")
    done = tcssa(*arguments, "--manifest", manifest, "--json")
    assert done.code == 1
    assert (done.json["num_converted"], len(done.json["failed"])) == (1, 1)
    assert done.json["failed"][0]["path"].endswith("b.h5")
    with h5py.File(tmp_path / "out/test_encoder/a.h5") as file:
        assert np.array_equal(file["coords"][1], [56, 0])
    done = tcssa(*arguments, "--slide-mpp", 0.5)
    assert done.code == 0
    assert "1 slide converted (20 patches), 1 done before" in done.stdout


def test_a_faulty_manifest_is_told_with_its_lines(tcssa: Run, tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.h5")
    manifest = tmp_path / "slides.csv"
    arguments = ("convert", path, "--to", "stamp", "--out", tmp_path / "out")
    manifest.write_text("slide_id,mpp\na,fine\n")
    done = tcssa(*arguments, "--manifest", manifest)
    assert done.code != 0
    assert "line 2: mpp 'fine' is no number" in done.stderr
    manifest.write_text("slide_id,label\na,0\n")
    assert "needs columns" in tcssa(*arguments, "--manifest", manifest).stderr


def test_one_of_several_sets_is_encoded_and_converted_by_name(tcssa: Run, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["coords"] = np.zeros((3, 5), np.int32)
        for name in ("conch_v1.5", "uni"):
            file[f"features/{name}"] = np.ones((3, 4), np.float32)
    arguments = ("--to", "trident", "--out", tmp_path / "out", "--json")
    done = tcssa("convert", tmp_path / "s.h5", *arguments)
    assert done.code == 1
    assert "several sets of features: conch_v1.5, uni" in done.json["failed"][0]["reason"]
    done = tcssa("convert", f"{tmp_path}::conch_v1.5", *arguments)
    assert done.code == 0
    assert (tmp_path / "out/features_conch_v1.5/s.h5").is_file()
    done = tcssa("inspect", f"{tmp_path / 's.h5'}::uni", "--json")
    assert done.code == 0
    assert "uni" in done.stdout
