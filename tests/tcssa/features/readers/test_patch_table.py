"""Features in text: which columns are features, and which are not."""

from pathlib import Path

import numpy as np
import pytest

from tcssa.errors import FeatureFileError, MissingDataError
from tcssa.features import find_bags, read_features
from tcssa.features.readers.patch_table import is_patch_table

FEATURES = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
NUMBERS = [",".join(f"{x:.9g}" for x in row) for row in FEATURES]
COLUMNS = ",".join(map(str, range(8)))


def write(path: Path, header: str | None, rows: list[str]) -> Path:
    path.write_text("\n".join([*([] if header is None else [header]), *rows]) + "\n")
    return path


NAMED = [f"{row},{i}_0.jpeg" for i, row in enumerate(NUMBERS)]
PUBLISHED = {
    "SlideChat": (None, NAMED),
    "BCNB": (f"{COLUMNS},position", NAMED),
    "DSMIL": (COLUMNS, NUMBERS),
    "numbers alone": (None, NUMBERS),
    "pandas": (f",{COLUMNS}", [f"{i},{row}" for i, row in enumerate(NUMBERS)]),
    "pandas, some rows": (f",{COLUMNS}", [f"{9 - i},{row}" for i, row in enumerate(NUMBERS)]),
    "pandas, read and written again": (
        f"Unnamed: 0,{COLUMNS}",
        [f"{i},{row}" for i, row in enumerate(NUMBERS)],
    ),
    "an index and names": (f",{COLUMNS},position", [f"{i},{row}" for i, row in enumerate(NAMED)]),
    "names in front": (f"patch,{COLUMNS}", [f"p{i}.png,{row}" for i, row in enumerate(NUMBERS)]),
    "names in front, no header": (None, [f"p{i}.png,{row}" for i, row in enumerate(NUMBERS)]),
    "coordinates": (f"x,y,{COLUMNS}", [f"{i},{i * 256},{row}" for i, row in enumerate(NUMBERS)]),
    "names that are numbers": (f"{COLUMNS},patch", [f"{row},{i}" for i, row in enumerate(NUMBERS)]),
    "words": (",".join(f"feat_{i}" for i in range(8)), NUMBERS),
    "from 1": (",".join(str(i + 1) for i in range(8)), NUMBERS),
    "tabs": (COLUMNS.replace(",", "\t"), [row.replace(",", "\t") for row in NUMBERS]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PUBLISHED)
def test_features_come_back_without_what_stands_beside_them(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "17.csv", *PUBLISHED[kind])
    assert np.array_equal(read_features(path), FEATURES)
    assert is_patch_table(path)
    assert [bag.slide_id for bag in find_bags([tmp_path])] == ["17"]


COUNTED = [f"{i},{row}" for i, row in enumerate(NUMBERS)]


@pytest.mark.parametrize(
    ("header", "rows", "reason"),
    [
        (None, COUNTED, "the first column counts the rows: it is an index, or a feature"),
        (f",{COLUMNS}", [f"0.5,{row}" for row in NUMBERS], "line 2: '0.5' stands in a first"),
        (None, [f"{NUMBERS[0]},3x", f"{NUMBERS[1]},3"], "line 2: column 9 holds"),
        (None, [NUMBERS[0], f"{NUMBERS[1]},1"], "line 2 has 9 cells, the first line 8"),
        (None, [NUMBERS[0] + ","], "line 1: '' is no number"),
        (COLUMNS, [], "holds no features"),
        ("name,place", ["a,b"], "line 2 holds no features"),
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, header: str | None, rows: list[str], reason: str
) -> None:
    with pytest.raises(FeatureFileError, match=reason):
        read_features(write(tmp_path / "s.csv", header, rows))


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,label\nS1,0\nS2,1\n",
        "case_id,slide_id,time,event\nP1,S1,12.5,1\n",
        "case_id,TP53,KRAS,EGFR\nP1,0.25,1.5,-0.5\n",
        ",train,val,test\n0,S1,S2,S3\n",
        ",train,val,test\nS1,True,False,False\n",
        "S1,1\nS2,0\n",
        "",
    ],
)
def test_tables_of_other_things_are_no_features(tmp_path: Path, text: str) -> None:
    (tmp_path / "17.csv").write_text(text)
    with pytest.raises(MissingDataError, match=r"17\.csv does not look like features"):
        find_bags([tmp_path])
