"""check-data names everything that is wrong, and says so with its exit code."""

import json
from pathlib import Path

import h5py
import numpy as np
from command_line import Run
from factories import write_bag
from shared_data import require_shared
from vqa_models import byte_tokenizer


def conversation(slide: str, answer: str = "yes") -> dict[str, object]:
    said = [{"from": "human", "value": "<image>\nTumour?"}, {"from": "gpt", "value": answer}]
    return {"id": slide, "image": [slide], "conversations": said}


def test_a_fit_file_is_exit_0(tcssa: Run, tmp_path: Path) -> None:
    write_bag(tmp_path / "features" / "TCGA-AA-0001-01Z-00-DX1.h5")
    (tmp_path / "d.json").write_text(json.dumps([conversation("TCGA-AA-0001-01Z-00-DX1.csv")]))
    done = tcssa("check-data", tmp_path / "d.json", "--features", tmp_path / "features", "--json")
    assert done.code == 0
    assert done.json["is_fit"]
    assert done.json["feature_dims"] == {"16": 1}


def test_everything_wrong_is_listed(tcssa: Run, tmp_path: Path) -> None:
    write_bag(tmp_path / "features" / "TCGA-AA-0001-01Z-00-DX1.h5")
    write_bag(tmp_path / "features" / "TCGA-AA-0002-01Z-00-DX1.h5")
    write_bag(tmp_path / "features" / "TCGA-AA-0003-01Z-00-DX1.h5", feature_dim=8)
    write_bag(tmp_path / "features" / "TCGA-AA-0004-01Z-00-DX1.h5", num_patches=0)
    rows = [conversation(f"TCGA-AA-{i:04d}-01Z-00-DX1.csv") for i in range(1, 6)]
    rows.append(conversation("TCGA-AA-0001-01Z-00-DX1.csv", answer=" "))
    (tmp_path / "test.json").write_text(json.dumps(rows))
    (tmp_path / "train.json").write_text(json.dumps([conversation("TCGA-AA-0002-01Z-00-DX2")]))
    done = tcssa(
        "check-data", tmp_path / "test.json", "--features", tmp_path / "features",
        "--train", tmp_path / "train.json", "--json",
    )  # fmt: skip
    assert done.code == 1
    assert {finding["kind"]: finding["count"] for finding in done.json["findings"]} == {
        "empty answer": 1,
        "no patches": 1,
        "no features": 1,
        "features of another length": 1,
        "patient also in train.json": 1,
    }
    shown = tcssa("check-data", tmp_path / "test.json", "--features", tmp_path / "features")
    assert "TCGA-AA-0003-01Z-00-DX1.csv: D = 8, most have 16" in shown.stdout
    assert "6 rows, 5 can be used, about 5 slides" in shown.stdout


def test_features_are_read_to_the_end_in_every_folder(tcssa: Run, tmp_path: Path) -> None:
    names = [f"TCGA-AA-{number:04d}-01Z-00-DX1" for number in range(3)]
    for number, name in enumerate(names):
        write_bag(tmp_path / "abc"[number] / "deep" / f"{name}.h5")
    with h5py.File(tmp_path / "b" / "deep" / f"{names[1]}.h5", "r+") as file:
        file["features"][3, 0] = np.inf
    (tmp_path / "d.json").write_text(json.dumps([conversation(name) for name in names]))
    folders = [word for name in "abc" for word in ("--features", tmp_path / name)]
    done = tcssa("check-data", tmp_path / "d.json", *folders, "--json")
    (finding,) = done.json["findings"]
    assert (finding["kind"], finding["count"], done.code) == ("features not finite", 1, 1)
    assert "the features of row 3 are not finite" in finding["examples"][0]


def test_the_real_benchmark_is_fit_but_for_its_features(tcssa: Run) -> None:
    done = tcssa(
        "check-data", require_shared("vqa/SlideBench-VQA-TCGA.csv"), "--kind", "slidebench-tcga",
        "--json",
    )  # fmt: skip
    assert done.code == 0
    assert done.json["num_usable"] == 1489


def test_a_file_of_another_kind_is_one_line(tcssa: Run, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('{"a": 1}')
    done = tcssa("check-data", tmp_path / "d.json")
    assert done.code == 1
    assert "must hold a list, holds an object" in done.stderr


def test_rows_too_long_for_the_language_model_are_named(tcssa: Run, tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "llm")
    said = {"TCGA-AA-0001-01Z-00-DX1": "yes", "TCGA-AA-0002-01Z-00-DX1": "no" * 99}
    rows = [conversation(slide, answer) for slide, answer in said.items()]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    asked = ("check-data", tmp_path / "d.json", "--llm", tmp_path / "llm", "--num-tokens", "6")
    done = tcssa(*asked, "--max-length", "100", "--json")
    (finding,) = done.json["findings"]
    assert (finding["kind"], finding["count"], done.code) == ("longer than 100 tokens", 1, 1)
    assert f"row 2 (TCGA-AA-0002-01Z-00-DX1): {done.json['longest']} tokens" in str(finding)
    enough = tcssa(*asked, "--max-length", str(done.json["longest"]))
    assert enough.code == 0
    assert f"longest row: {done.json['longest']} tokens" in enough.stdout
    prompted = tcssa(*asked, "--max-length", str(done.json["longest"]), "--system", "Be brief.")
    assert prompted.code == 1
    assert tcssa(*asked, "--kind", "wsi-vqa").stderr.startswith("error  --llm measures rows")


def test_rows_of_several_slides_are_measured_as_they_are_shown(tcssa: Run, tmp_path: Path) -> None:
    slides = [f"TCGA-AA-0001-01Z-00-DX{number}" for number in (1, 2, 3)]
    for name in slides[:2]:
        write_bag(tmp_path / "features" / f"{name}.h5")
    byte_tokenizer().save_pretrained(tmp_path / "llm")
    rows = [{**conversation("TCGA-AA-0001"), "id": "patient"}, conversation(slides[0])]
    rows.append({**rows[1], "id": "both", "image": slides[:2]})
    rows.append({**rows[1], "id": "twice", "image": ["TCGA-AA-0001", slides[1]]})
    rows.append({**rows[1], "id": "absent", "image": [slides[0], slides[2]]})
    (tmp_path / "d.json").write_text(json.dumps(rows[:3]))
    words = ["check-data", tmp_path / "d.json", "--llm", tmp_path / "llm", "--json"]
    features = ["--features", tmp_path / "features"]
    one = tcssa(*words, "--several", "first")
    assert [finding["kind"] for finding in one.json["findings"]] == ["several slides"]
    assert "--several merge or concat" in one.json["findings"][0]["examples"][0]
    merged, behind = (
        tcssa(*words, *features, "--several", several) for several in ("merge", "concat")
    )
    assert (merged.code, behind.code) == (0, 0)
    assert merged.json["longest"] == one.json["longest"]
    assert behind.json["longest"] == one.json["longest"] + 32
    limit = ["--max-length", one.json["longest"] + 1]
    too_long = tcssa(*words, *features, *limit, "--several", "concat")
    assert {each["kind"]: each["count"] for each in too_long.json["findings"]} == {
        f"longer than {one.json['longest'] + 1} tokens": 2
    }
    (tmp_path / "d.json").write_text(json.dumps(rows))
    found = tcssa(*words, *features, "--several", "concat").json["findings"]
    assert {each["kind"]: each["count"] for each in found} == {
        "no features": 1,
        "slide stands twice": 1,
    }
