"""Tables as the csv module reads them strictly, JSON and YAML as their libraries do."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fuzz.oracles import RefusedError
from tcssa.features.tables import find_column, slide_name
from tcssa.files.table import is_missing
from tcssa.slides.image.slide import slide_id_of

_SLIDE = ("slide_id", "image_id", "sample_id", "filename", "slide", "wsi")


def strict_rows(
    path: Path, *, multiline: bool = False, delimiter: str | None = None
) -> list[dict[str, str]]:
    """Read a table with a header, and refuse what the csv module lets pass.

    Raises:
        RefusedError: A row has more cells than the header, columns repeat, or a cell goes on over
            the end of a line that may not.
    """
    content = path.read_bytes()
    is_wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = content.decode("utf-16" if is_wide else "utf-8-sig")
    if "\0" in text:
        raise RefusedError("a zero")
    if delimiter is None:
        header_line = text.lstrip().replace("\r", "\n").partition("\n")[0]
        delimiter = next((mark for mark in "\t;" if mark in header_line), ",")
    csv.field_size_limit(2**31 - 1)
    stream = io.StringIO(text, newline="")
    rows = list(csv.reader(stream, delimiter=delimiter, strict=True))
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    header = [name.strip() for name in rows[0]]
    if max(Counter(filter(None, header)).values()) > 1:
        raise RefusedError("columns repeat")
    if max(map(len, rows)) > len(header):
        raise RefusedError("a row with more cells than the header")
    if not multiline and any("\n" in cell or "\r" in cell for row in rows for cell in row):
        raise RefusedError("a cell over several lines")
    return [dict(zip(header, (cell.strip() for cell in row), strict=False)) for row in rows[1:]]


def check_labels(path: Path, slides: Sequence[Any]) -> str | None:
    """Compare labels with the cells of the table."""
    rows = strict_rows(path)
    header = list(rows[0])
    slide, label = find_column(header, _SLIDE), find_column(header, ("label", "isup_grade"))
    assert slide is not None
    expected = {slide_name(row[slide]): row[label or "label"] for row in rows}
    expected = {name: re.sub(r"^(-?\d+)\.0+$", r"\1", text) for name, text in expected.items()}
    found = {each.slide_id: each.label for each in slides}
    return None if found == expected else "labels differ"


def check_slides(path: Path, slides: Sequence[Any]) -> str | None:
    """Compare a manifest's slides with the cells of the table."""
    rows = strict_rows(path)
    column = find_column(list(rows[0]), ("wsi", "image_path", "path", "slide", "filename"))
    assert column is not None
    expected = dict.fromkeys(Path(row[column]).name for row in rows)
    return None if {each.path.name: None for each in slides} == expected else "slides differ"


def check_resolutions(path: Path, found: Mapping[str, float]) -> str | None:
    """Compare a manifest's resolutions with the cells of the table."""
    rows = strict_rows(path)
    header = list(rows[0])
    mpp = find_column(header, ("mpp", "spacing_at_level_0"))
    ids = find_column(header, ("slide_id", "sample_id"))
    paths = find_column(header, ("wsi", "image_path", "path", "slide", "filename"))
    expected = {}
    for row in rows:
        name = slide_name(row[ids]) if ids and not is_missing(row[ids]) else ""
        name = name or (slide_id_of(Path(row[paths])) if paths else "")
        if name and not is_missing(row[mpp or ""]):
            expected[name] = float(row[mpp or ""])
    return None if found == expected else "resolutions differ"


def check_splits(path: Path, folds: Sequence[Mapping[str, str]]) -> str | None:
    """Compare the slides of all folds with the cells of the table."""
    rows = strict_rows(path)
    header = list(rows[0])
    slide = find_column(header, ("slide_id", "slide", "image_id", "filename"))
    if slide is not None and not all(find_column(header, [part]) for part in ("train", "test")):
        expected = {slide_name(row[slide]) for row in rows}
        return None if all(set(fold) <= expected for fold in folds) else "slides differ"
    expected = set()
    for part in ("train", "val", "test"):
        column = find_column(header, [part])
        named = [row[column] for row in rows if column and not is_missing(row[column])]
        expected |= {slide_name(cell) for cell in named}
    return None if set(folds[0]) == expected else "slides differ"


def check_archive(path: Path, files: Sequence[Path]) -> str | None:
    """Compare the files of an archive with the cells of the table."""
    expected = [row["path"] for row in strict_rows(path, delimiter=",") if row["path"]]
    return (
        None
        if [each.name for each in files] == [Path(each).name for each in expected]
        else ("files differ")
    )


def check_predictions(path: Path, found: Sequence[Any]) -> str | None:
    """Compare predictions with the cells of the table."""
    rows = strict_rows(path, delimiter=",")
    expected = [(row["slide_id"], float(row["prob_a"]), float(row["prob_b"])) for row in rows]
    return None if [(p.slide_id, *p.probs) for p in found] == expected else "predictions differ"


def check_questions(path: Path, found: Any) -> str | None:
    """Compare the questions that can be used with the cells of their rows."""
    rows = strict_rows(path, multiline=True, delimiter=",")
    if found.num_rows != len(rows):
        return "another number of rows"
    for question in found.questions:
        row = rows[int(question.source.rpartition(" ")[2]) - 1]
        if (question.slide, question.text) != (row["Slide"], row["Question"].strip()):
            return "questions differ"
    return None


def check_answers(path: Path, found: Any) -> str | None:
    """Compare answers with the cells of the column that was taken."""
    rows = strict_rows(path, multiline=True)
    expected: dict[str, str] = {}
    for row in rows:
        known = {re.sub(r"[\s_-]", "", name).lower(): cell for name, cell in row.items()}
        ids = ("rowid", "id", "questionid", "qid")
        name = next((known[each] for each in ids if known.get(each)), "")
        expected.setdefault(name, row[found.file.column])
    wrong = [name for name, text in found.texts.items() if expected.get(name) != text]
    return "answers differ" if wrong and found.found_by == "id" else None


def check_instances(path: Path, found: Mapping[str, Any]) -> str | None:
    """Compare imported bags with the numbers of the table."""
    import gzip

    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    rows = [row for row in csv.reader(text, strict=True) if any(cell.strip() for cell in row)]
    table = np.array([[float(cell) for cell in row] for row in rows])
    bags = np.unique(table[:, 1])
    for bag, features in zip(bags, found["features"], strict=True):
        if not np.array_equal(table[table[:, 1] == bag][:, 2:].astype(np.float32), features):
            return "features differ"
    return None


def check_description(name: str) -> Any:
    """Return an oracle that compares a pydantic model with the JSON file in its folder."""

    def check(folder: Path, found: Any) -> str | None:
        text = (folder / name).read_bytes().decode("utf-8-sig")
        content = json.loads(text, object_pairs_hook=_distinct)
        dumped = found.model_dump(mode="json")
        wrong = [key for key in content if not _equal(dumped.get(key), content[key])]
        return f"{wrong[0]} differs" if wrong else None

    return check


class _YamlLoader(yaml.SafeLoader):
    """Builds what PyYAML builds safely, but numbers to the base 60 stay text."""

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        if ":" in node.value:
            return node.value
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _name in ("int", "float"):
    _YamlLoader.add_constructor(f"tag:yaml.org,2002:{_name}", _YamlLoader.construct_number)


def check_yaml(path: Path, found: Any) -> str | None:
    """Compare settings with what PyYAML reads safely."""
    content = yaml.load(path.read_bytes().decode("utf-8-sig"), _YamlLoader)
    return None if repr(found) == repr(content or {}) else "values differ"


def _equal(found: Any, stored: Any) -> bool:
    """Compare values where the model may hold more than was stored, as its defaults."""
    if isinstance(stored, dict) and isinstance(found, dict):
        return all(_equal(found.get(key), value) for key, value in stored.items())
    if isinstance(stored, list) and isinstance(found, list):
        return len(found) == len(stored) and all(map(_equal, found, stored))
    try:  # "3" and true stand for numbers where a number must stand
        return bool(found == stored or math.isnan(found) or float(found) == float(stored))
    except (TypeError, ValueError, OverflowError):
        return False


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise RefusedError("a name repeats")
    return dict(pairs)
