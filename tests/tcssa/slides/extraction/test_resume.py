"""What is said of features that were made with other parameters."""

import json
from pathlib import Path

import h5py
import pytest
from factories import write_bag

from tcssa.errors import UsageError
from tcssa.files.checksums import params_hash
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.resume import finished
from tcssa.slides.manifest import SlideFile
from tcssa.slides.settings import ExtractSettings


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({}, {"trident_scale": True}, r"trident_scale = None \(now True\)"),
        ({"trident_scale": True}, {}, r"trident_scale = True \(now None\)"),
    ],
)
def test_a_parameter_of_one_run_alone_is_named(
    tmp_path: Path, before: dict[str, object], now: dict[str, object], said: str
) -> None:
    layout = JobLayout.of(tmp_path, ExtractSettings())
    path = write_bag(layout.features_file("s"))
    with h5py.File(path, "r+") as file:
        params = {"mpp": 0.5, **before}
        file["coords"].attrs.update(params=json.dumps(params), params_hash=params_hash(params))
    with pytest.raises(UsageError, match=said):
        finished(SlideFile(tmp_path / "s.svs", "s"), layout, {"mpp": 0.5, **now})
