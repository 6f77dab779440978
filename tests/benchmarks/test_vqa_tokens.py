"""The script that compares ways to shorten a slide: its table and its chart."""

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from PIL import Image

from tcssa.vqa.settings import VisualKind

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "vqa_tokens.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vqa_tokens", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(SCRIPT.parent))  # it shares steps with learn_to_see.py
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


def test_every_way_to_see_a_slide_is_a_line_with_a_point_a_size(
    script: ModuleType, tmp_path: Path
) -> None:
    assert set(script.METHODS) == set(get_args(VisualKind))
    points = [
        script.Point(method, tokens, seed, 0.5 + tokens / 100 + seed / 100, 0.4)
        for seed in (1, 2)
        for method in script.METHODS
        for tokens in ([script.ONE_SIZE[method]] if method in script.ONE_SIZE else (4, 16))
    ]
    script.write(tmp_path, points)
    with Image.open(tmp_path / "tokens.png") as picture:
        assert picture.width > 1000
    with (tmp_path / "tokens.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(points)
    assert rows[0] == {
        "method": "tcssa", "tokens": "4", "seed": "1", "accuracy": "0.55", "floor": "0.4"
    }  # fmt: skip
    lines = {line.get_label() for line in script.chart_of(points).axes[0].lines}
    assert set(script.METHODS.values()) <= lines
    table = script.table_of(points)
    assert [str(column.header) for column in table.columns] == [
        "", "1 token", "4 tokens", "16 tokens", "32 tokens"
    ]  # fmt: skip
    assert next(iter(table.columns[2].cells)) == "0.555"
