"""Patients of two slides each, and the same patients with all patches in one file."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from factories import write_bag

from tcssa.features import read_features

NUM_PATIENTS = 10


def patient(number: int) -> str:
    """The name of a patient."""
    return f"TCGA-AA-{number:04d}"


def slides_of(number: int) -> list[str]:
    """The two slides of a patient."""
    return [f"{patient(number)}-01Z-00-DX{slide}" for slide in (1, 2)]


def write_patients(folder: Path) -> None:
    """Write ``apart``, two slides a patient, and ``whole``, one of the patches of both."""
    for number in range(NUM_PATIENTS):
        paths = [
            write_bag(
                folder / "apart" / f"{name}.h5", 9 + number + 7 * slide, seed=2 * number + slide
            )
            for slide, name in enumerate(slides_of(number))
        ]
        whole = write_bag(folder / "whole" / paths[0].name, 25 + 2 * number)
        with h5py.File(whole, "r+") as file:
            file["features"][:] = np.concatenate([read_features(path) for path in paths])


def talk(number: int, images: list[str], question: str = "<image>\nWhat?") -> dict[str, Any]:
    """A question about a patient's slides."""
    said = [{"from": "human", "value": question}, {"from": "gpt", "value": f"odd {number % 3}"}]
    return {"id": f"r{number}", "image": images, "conversations": said}


def write_talks(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write conversations."""
    path.write_text(json.dumps(rows))
    return path
