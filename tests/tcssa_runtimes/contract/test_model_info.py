"""Facts about a model, as its artefact states them."""

from pathlib import Path
from typing import Any

import pytest

from tcssa.artefact import Artefact
from tcssa_runtimes.contract.model_info import ModelFacts

FOLDER = Path("artefact")
SHAPE = {"D": 16, "K": 8, "T": 2, "C": 3, "H": 20}


def graph(name: str, inputs: str, outputs: str, rows: int | None, dtype: str) -> dict[str, Any]:
    """A graph's record, of tensors such as ``features BRD``; R are its rows."""

    def tensors(text: str) -> list[dict[str, Any]]:
        sizes = {**SHAPE, "B": None, "R": rows}
        return [
            {
                "name": each.split()[0],
                "dtype": "int64" if each.split()[0] in ("lengths", "assignments") else dtype,
                "shape": [sizes[axis] for axis in each.split()[1]],
            }
            for each in text.split(", ")
        ]

    return {
        "file": f"{name}.onnx",
        "sha256": f"hash of {name}",
        "inputs": tensors(inputs),
        "outputs": tensors(outputs),
    }


def artefact(models: dict[str, Any], *, chunk_patches: int | None = None, **more: Any) -> Artefact:
    return Artefact.model_validate(
        {
            "format": "onnx",
            "graph": "full" if "full" in models else "chunked",
            "models": models,
            "feature_dim": SHAPE["D"],
            "num_slots": SHAPE["K"],
            "top_k": SHAPE["T"],
            "precision": {"input": "float32"},
            "patches": {"min": 1, "opt": 512, "max": None},
            "chunk_patches": chunk_patches,
            "max_batch": 4,
            "encoder": "uni",
            "checkpoint_sha256": "c0ffee",
            "parity": {"status": "passed", "tolerance": 1e-4, "reason": "", "rows": []},
            "tools": {},
            **more,
        }
    )


def full(outputs: str = "", **more: Any) -> Artefact:
    routing = "slots BKD, mass BK, assignments BRT, weights BRT"
    inputs = "features BRD, lengths B"
    return artefact({"full": graph("full", inputs, routing + outputs, None, "float32")}, **more)


def chunked(rows: int | None, dtype: str = "float32", **more: Any) -> Artefact:
    partial = "mean BKD, mass BK, assignments BRT, weights BRT"
    models = {
        "partial": graph("partial", "features BRD, lengths B", partial, rows, dtype),
        "finish": graph("finish", "mean BKD", "slots BKD", None, "float32"),
    }
    return artefact(models, chunk_patches=256, **more)


def test_only_a_chunked_pair_of_a_nested_model_can_be_folded() -> None:
    assert ModelFacts.of_artefact(FOLDER, chunked(None, nested=True)).budgets == (4, 8)
    assert ModelFacts.of_artefact(FOLDER, chunked(None)).budgets == ()
    assert ModelFacts.of_artefact(FOLDER, full(nested=True)).budgets == ()


def test_rows_of_a_launch_are_fixed_where_the_graph_fixes_them() -> None:
    fixed, free, whole = (
        ModelFacts.of_artefact(FOLDER, each) for each in (chunked(256), chunked(None), full())
    )
    assert [each.fixed_rows for each in (fixed, free, whole)] == [True, False, False]
    assert [each.chunk_patches for each in (fixed, free, whole)] == [256, 256, None]


def test_features_are_taken_in_the_type_of_the_graph_that_reads_them() -> None:
    assert ModelFacts.of_artefact(FOLDER, chunked(256, "float16")).input_dtype == "float16"
    assert ModelFacts.of_artefact(FOLDER, full()).input_dtype == "float32"


@pytest.mark.parametrize(
    ("what", "output", "heads", "more"),
    [
        ("compressor", "", (), {}),
        ("classifier", ", logits BC", ("logits",), {"classes": ["a", "b", "c"]}),
        ("projector", ", tokens BKH", ("tokens",), {"token_dim": 20}),
    ],
)
def test_a_head_is_told_by_its_output(
    what: str, output: str, heads: tuple[str, ...], more: dict[str, Any]
) -> None:
    made = full(output, what=what, **more)
    facts = ModelFacts.of_artefact(FOLDER, made)
    assert facts.heads == heads
    assert facts.heads == tuple(
        tensor.name for tensor in made.models["full"].outputs if tensor.name in ("logits", "tokens")
    )
    assert facts.classes == (("a", "b", "c") if what == "classifier" else None)


def test_models_of_other_files_have_another_hash() -> None:
    first, second = full(), full()
    second.models["full"] = second.models["full"].model_copy(update={"sha256": "another"})
    hashes = [ModelFacts.of_artefact(FOLDER, each).sha256 for each in (first, full(), second)]
    assert hashes[0] == hashes[1] != hashes[2]
