"""A slide language model without slots, as a user meets it: asked, scored, and not exported."""

from pathlib import Path

import pytest
from command_line import Run
from factories import write_bag
from vqa_runs import slide_name, write_slidebench, write_slides, write_tiny_run

from tcssa.run import write_run
from tcssa.vqa.settings import VisualKind


@pytest.mark.parametrize("kind", ["spatial", "topm", "kmeans", "tome"])
def test_a_baseline_is_asked_and_scored(tcssa: Run, tmp_path: Path, kind: VisualKind) -> None:
    run = write_tiny_run(tmp_path, kind=kind)
    features = write_slides(tmp_path / "features", [0, 1])
    asked = tcssa(
        "ask", run, "Is there tumour?", "--features", features / f"{slide_name(1)}.h5",
        "--option", "yes", "--option", "no", "--device", "cpu", "--json",
    )  # fmt: skip
    assert asked.code == 0, asked.stderr
    assert len(asked.json["slots"]) == 6
    file = write_slidebench(tmp_path / "bench.csv", 2, 1)
    scored = tcssa(
        "eval", run, "--benchmark", "slidebench-tcga", file, "--features", features,
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert scored.code == 0, scored.stderr
    assert scored.json["num_visual_tokens"] == 6
    assert scored.json["statuses"] == {"answered": 2}


def test_a_run_without_slots_is_not_exported_and_does_not_encode(
    tcssa: Run, tmp_path: Path
) -> None:
    run = write_tiny_run(tmp_path, kind="kmeans")
    write_run(run, {"kind": "train-vqa", "complete": True})
    for what in ("compressor", "projector"):
        refused = tcssa("export", run, "--what", what, "--out", tmp_path / "artefact")
        assert refused.code == 2
        assert "whose visual encoder makes no slots" in refused.stderr
    bag = write_bag(tmp_path / "S.h5")
    refused = tcssa("encode", bag, "--model", run, "--out", tmp_path / "slots")
    assert refused.code == 1
    assert "is a run of train-vqa, and no compressor or classifier" in refused.stderr
    assert "give a run of --visual tcssa" in refused.stderr
    with_slots = write_tiny_run(tmp_path / "slots")
    write_run(with_slots, {"kind": "train-vqa", "complete": True})
    refused = tcssa("encode", bag, "--model", with_slots, "--out", tmp_path / "slots")
    assert f"give its compressor: {with_slots / 'compressor.safetensors'}" in refused.stderr
