"""Slides whose label is only how their patches lie: do slots with places see it?

    python benchmarks/arrangement.py --cohort COHORT --out FOLDER [--seeds 5]

Sections are drawn of real patches of the 40 lung slides of COHORT: 256 patches on a grid 9.6 mm
wide, 64 of them tumour of one slide. In half of a slide's sections the tumour lies in one place, in
the other half the very same number of patches is scattered, so features alone tell nothing.
`tcssa train-mil` runs its defaults in five folds, split by the slide of the tumour, with and
without ``--spatial moments``, and once more on the same sections with their coordinates shuffled.
The figure of a seed is the mean test AUC of its folds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
from diluted_tumour import job_of, remove_weights, run_folder, train_folds
from lung_questions import read_slides
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

SIDE, PITCH_PX, MPP = 16, 1200, 0.5
"""Patches along the grid, and level-0 pixels from one to the next: 600 µm."""
NUM_TUMOUR = 64
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "tcssa": ("sections", []),
    "tcssa --spatial moments": ("sections", ["--spatial", "moments"]),
    "the same, coordinates shuffled": ("shuffled", ["--spatial", "moments"]),
    "abmil": ("sections", ["--model", "abmil"]),
    "2dmamba": ("sections", ["--model", "2dmamba"]),
}
"""Name to the folder of features and the options of train-mil."""
FIRST = 4
"""Variants that are run if none are named; 2dmamba takes minutes a fold."""


def main() -> None:
    """Train every variant with every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohort", type=Path, required=True, help="slides and labels.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sections", type=int, default=4, help="of each slide, half of a kind")
    parser.add_argument("--variants", help=f"of {'; '.join(VARIANTS)}, with semicolons")
    arguments = parser.parse_args()
    chosen = list(VARIANTS)[:FIRST]
    if arguments.variants:
        chosen = [name.strip() for name in arguments.variants.split(";")]
    draw_sections(job_of(arguments.cohort, arguments.out), arguments.out, arguments.sections)
    table = Table(title=f"AUC, mean ± SD of {arguments.seeds} seeds", header_style="bold")
    for title in ("", "AUC", "each seed"):
        table.add_column(title)
    for name in chosen:
        found = [auc_of(arguments.out, name, seed) for seed in range(arguments.seeds)]
        spread = f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"
        table.add_row(name, spread, ", ".join(f"{auc:.3f}" for auc in found))
    Console(width=120).print(table)


def draw_sections(job: Path, out: Path, per_slide: int) -> None:
    """Draw the sections, and write them with their labels; also with shuffled coordinates."""
    slides = list(read_slides(job))
    normal = np.concatenate([slide.features[~slide.is_tumour] for slide in slides])
    rows = ["case_id,slide_id,label"]
    for slide in slides:
        rng = slide.draws(0)
        for index in range(per_slide):
            name, label = f"{slide.slide_id}-{index:02d}", ("scattered", "together")[index % 2]
            cells = place_tumour(rng, together=label == "together")
            features = normal[rng.choice(len(normal), SIDE**2, replace=False)]
            tumour = rng.choice(np.flatnonzero(slide.is_tumour), NUM_TUMOUR)
            features[cells] = slide.features[tumour]
            grid = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=1)[:, ::-1] * PITCH_PX
            write_section(out / "sections" / f"{name}.h5", features, grid)
            write_section(out / "shuffled" / f"{name}.h5", features, rng.permutation(grid))
            rows.append(f"{slide.slide_id},{name},{label}")
    (out / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def place_tumour(rng: np.random.Generator, *, together: bool) -> NDArray[np.int64]:
    """Choose the cells of the grid that are tumour: those nearest to a place, or any."""
    if not together:
        return rng.choice(SIDE**2, NUM_TUMOUR, replace=False)
    cells = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=1)
    centre = rng.uniform(0, SIDE, 2)
    return np.argsort(((cells - centre) ** 2).sum(axis=1))[:NUM_TUMOUR]


def write_section(path: Path, features: NDArray[np.float32], coords: NDArray[np.int64]) -> None:
    """Write the features of a section, its patches in random order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(len(path.stem)).permutation(len(features))
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = features[order], coords[order]
        file["features"].attrs["encoder"] = "efficientnet_lite0"
        file["coords"].attrs.update({"patch_size_level0": 112, "mpp_level0": MPP})


def auc_of(out: Path, variant: str, seed: int) -> float:
    """Train a variant, and return the mean test AUC of its folds; weights are not kept."""
    folder, options = VARIANTS[variant]
    run = run_folder(out, variant, seed)
    auc = train_folds(out / "labels.csv", out / folder, seed, options, run)
    remove_weights(run)
    print(f"{variant} seed {seed}: {auc:.3f}", flush=True)
    return auc


if __name__ == "__main__":
    main()
