"""torchmil's own reader of TRIDENT's folders takes what convert and extract write."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from slide_files import draw_slides

from tcssa.features.convert import convert
from tcssa.slides import extract

GRID = "20x_112px_0px_overlap"


def read_bag(grid: Path, encoder: str, slide: str, patch_size: int) -> dict[str, np.ndarray]:
    datasets = pytest.importorskip("torchmil.datasets")
    labels = grid / "labels.csv"
    labels.write_text(f"name,y\n{slide},1\n")
    cohort = datasets.TridentWSIDataset(
        f"{grid}/", str(labels), encoder, bag_keys=["X", "Y", "coords"], patch_size=patch_size,
        wsi_names=[slide], wsi_name_col="name", wsi_label_col="y", load_at_init=False,
    )  # fmt: skip
    bag = cohort[0]
    return {name: np.asarray(bag[name]) for name in ("X", "coords")}


def test_a_conversion_of_clams_files(tmp_path: Path) -> None:
    corners = np.array([[0, 0], [112, 0], [224, 112]])
    for folder in ("patches", "h5_files"):
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / folder / "s.h5", "w") as file:
            dataset = file.create_dataset("coords", data=corners)
            dataset.attrs.update(patch_level=0, downsample=np.ones(2), patch_size=112)
            if folder == "h5_files":
                file["features"] = np.arange(12, dtype=np.float32).reshape(3, 4)
    convert([tmp_path / "h5_files"], "trident", tmp_path / GRID)
    bag = read_bag(tmp_path / GRID, "unknown", "s", 112)
    assert bag["X"].tolist() == np.arange(12).reshape(3, 4).tolist()
    assert bag["coords"].tolist() == (corners // 112).tolist()


def test_a_job_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("torchmil")
    (slide,) = draw_slides(tmp_path / "slides", 1)
    report = extract([slide], tmp_path / "job")
    bag = read_bag(report.features_folder.parent, "efficientnet_lite0", slide.stem, 224)
    assert len(bag["X"]) == len(bag["coords"]) == report.num_patches > 0
