"""What every runtime promises, asked of each of them."""

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import CHECKPOINT, PROJECTOR, Exported
from factories import make_compressor, make_features
from numpy.typing import NDArray

from tcssa import CompressorOutput, SlotCompressor
from tcssa.artefact import Artefact, PatchRange
from tcssa.compressor import save_compressor
from tcssa.errors import ArtefactError, DeviceError, NonFiniteFeatureError, ShapeError
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.classifier.slot_pool import PoolName
from tcssa.vqa.model.projector import Projector
from tcssa_exporters import export_compressor
from tcssa_runtimes import Runtime, open_runtime
from tcssa_runtimes.backends.open_runtime import Device

RUNTIMES = [
    "torch",
    "onnx",
    "onnx-chunked",
    "onnx-fp16",
    "onnx-chunked-fp16",
    "embedded-torch",
    "embedded-onnx",
    "embedded-onnx-chunked-fp16",
    pytest.param("cuda-torch", marks=pytest.mark.gpu),
    pytest.param("cuda-onnx", marks=pytest.mark.gpu),
    pytest.param("cuda-onnx-chunked", marks=pytest.mark.gpu),
    pytest.param("cuda-onnx-fp16", marks=pytest.mark.gpu),
    pytest.param("cuda-onnx-chunked-fp16", marks=pytest.mark.gpu),
    pytest.param("trt", marks=pytest.mark.gpu),
    pytest.param("trt-chunked", marks=pytest.mark.gpu),
]
ROUTERS = [
    pytest.param(each, marks=pytest.mark.matrix) if each in ("onnx-chunked", "onnx-fp16") else each
    for each in RUNTIMES
    if "embedded" not in str(each)
]
"""Runtimes that differ in how they route; an embedding of the patches stands before that."""
TOLERANCE = {"fp32": 2e-5, "fp16": 4e-3}
ModelFile = Callable[[str], Path]
CHUNK_PATCHES = 64
"""Small, so that bags of the tests have several chunks."""


def make_model_file(kind: str, model: SlotCompressor, folder: Path) -> Path:
    """The file or folder that a runtime opens."""
    if is_torch(kind):
        save_compressor(model, folder / "model.safetensors")
        return folder / "model.safetensors"
    options = export_options(kind)
    export_compressor(model, folder / kind, checkpoint_sha256="x", **options)
    return folder / kind


def export_options(kind: str) -> dict[str, Any]:
    """How the artefact of a runtime is made."""
    if kind.startswith(("cuda", "trt")) and not torch.cuda.is_available():
        pytest.skip(f"{kind}: no CUDA device")
    if kind.startswith("trt") and find_spec("tensorrt") is None:
        pytest.skip(f"{kind}: TensorRT is not installed")  # TensorRT-RTX does not target every GPU
    return {
        **({"format": "trt"} if kind.startswith("trt") else {}),
        **({"precision": "fp16"} if kind.endswith("fp16") else {}),
        **({"graph": "chunked", "chunk_patches": CHUNK_PATCHES} if "chunked" in kind else {}),
    }


@pytest.fixture(scope="module")
def model_file(
    checkpoint: Path, exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> ModelFile:
    """Gives the file or folder that a runtime opens, of the package's model; only to be read."""

    def found(kind: str) -> Path:
        if not is_torch(kind):
            return exported(salience=True, embedding=embedding(kind), **export_options(kind))
        if not embedding(kind):
            return checkpoint
        return make_model_file(kind, compressor_of(kind), tmp_path_factory.mktemp("embedded"))

    return found


def embedding(kind: str) -> dict[str, int]:
    """The shape of a model that embeds its patches, whose slots are shorter than they are."""
    return {"embedded_from": 16, "feature_dim": 12} if kind.startswith("embedded") else {}


def compressor_of(kind: str) -> SlotCompressor:
    return make_compressor(salience=True, **embedding(kind))


def is_torch(kind: str) -> bool:
    if kind == "cuda-torch" and not torch.cuda.is_available():
        pytest.skip(f"{kind}: no CUDA device")
    return kind.endswith("torch")


def device_of(kind: str) -> Device:
    if kind.startswith("trt"):
        return "auto"
    return "cuda" if kind.startswith("cuda") else "cpu"


def precision(kind: str) -> str:
    return "fp16" if kind.endswith("fp16") else "fp32"


@pytest.fixture(scope="module", params=RUNTIMES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def compressor(kind: str) -> SlotCompressor:
    """The model that the runtime runs."""
    return compressor_of(kind)


@pytest.fixture(scope="module")
def runtime(kind: str, model_file: ModelFile) -> Iterator[Runtime]:
    with open_runtime(model_file(kind), device=device_of(kind)) as opened:
        yield opened


def expected(
    model: SlotCompressor, features: NDArray[np.float32], lengths: NDArray[np.int64]
) -> CompressorOutput:
    mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
    with torch.no_grad():
        return model(torch.from_numpy(features), mask)


def assert_close(
    kind: str, actual: NDArray[np.float32], wanted: torch.Tensor | NDArray[np.float32]
) -> None:
    wanted = torch.as_tensor(wanted)
    allowed = TOLERANCE[precision(kind)] * max(1.0, float(wanted.abs().max()))
    np.testing.assert_allclose(actual, wanted.numpy(), atol=allowed, rtol=0)


def some_features(num_patches: int, seed: int = 0) -> NDArray[np.float32]:
    """Features that float16 holds exactly, so that all runtimes are given the same."""
    return make_features(num_patches, seed=seed).half().float().numpy()


@pytest.mark.parametrize("num_patches", [0, 1, 4, 1000])
def test_one_slide_equals_the_compressor(
    kind: str, runtime: Runtime, compressor: SlotCompressor, num_patches: int
) -> None:
    features = some_features(num_patches)
    slide = runtime.encode(features)
    wanted = expected(compressor, features[None], np.array([num_patches]))
    assert slide.num_patches == num_patches
    assert slide.slots.dtype == slide.mass.dtype == np.float32
    assert slide.centroids is None
    assert slide.spread is None
    assert_close(kind, slide.slots, wanted.slots[0])
    assert_close(kind, slide.mass, wanted.mass[0])


def test_a_batch_equals_the_compressor_whatever_stands_behind_its_lengths(
    kind: str, runtime: Runtime, compressor: SlotCompressor
) -> None:
    features = np.stack([some_features(50, seed) for seed in range(4)])
    lengths = np.array([50, 1, 0, 17])
    wanted = expected(compressor, features, lengths)
    for bag, length in zip(features, lengths, strict=True):
        bag[length:] = np.nan
    output = runtime.run(features, lengths)
    assert_close(kind, output.slots, wanted.slots)
    assert_close(kind, output.mass, wanted.mass)
    assert_close(kind, output.weights, wanted.weights)
    assert output.salience is not None
    assert wanted.salience is not None
    assert_close(kind, output.salience, wanted.salience)
    assert np.array_equal(output.assignments, wanted.assignments.numpy())
    assert np.isnan(features[1, 1:]).all(), "the caller's array was written to"


def test_the_order_of_patches_does_not_matter(kind: str, runtime: Runtime) -> None:
    features, coords = some_features(300), np.random.default_rng(0).uniform(0, 9e4, (300, 2))
    order = np.random.default_rng(1).permutation(300)
    one, other = runtime.encode(features, coords), runtime.encode(features[order], coords[order])
    assert_close(kind, one.slots, torch.from_numpy(other.slots))
    np.testing.assert_allclose(one.centroids, other.centroids, rtol=1e-5)


def test_chunks_give_the_same_as_the_whole(kind: str, runtime: Runtime) -> None:
    features, coords = some_features(300), np.random.default_rng(0).uniform(0, 9e4, (300, 2))
    whole = runtime.encode(features, coords)
    chunked = runtime.encode((features[i : i + 7] for i in range(0, 300, 7)), coords)
    assert_close(kind, chunked.slots, torch.from_numpy(whole.slots))
    np.testing.assert_allclose(chunked.spread, whole.spread, rtol=1e-5)


def test_empty_slots_are_never_nan(runtime: Runtime) -> None:
    slide = runtime.encode(np.repeat(some_features(1), 40, axis=0))
    assert (slide.mass > 0).sum() == 2
    assert np.isfinite(slide.slots).all()


@pytest.mark.parametrize("kind", ROUTERS)
def test_exact_ties_take_two_slots_and_the_lower_first(kind: str, tmp_path: Path) -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)
    with open_runtime(make_model_file(kind, model, tmp_path), device=device_of(kind)) as runtime:
        output = runtime.run(some_features(5)[None], np.array([5]))
    assert output.assignments.tolist() == [[[0, 1]] * 5]
    np.testing.assert_allclose(output.weights, 1 / 6, rtol=1e-6)


@pytest.mark.parametrize("num_patches", [1, 50, 200])
def test_a_slide_s_bits_do_not_depend_on_how_it_is_handed_over(
    kind: str, runtime: Runtime, num_patches: int
) -> None:
    features = some_features(num_patches)
    whole = runtime.encode(features)
    again = runtime.encode(features)
    assert whole.slots.tobytes() == again.slots.tobytes()
    if "chunked" in kind:
        parts = runtime.encode(features[i : i + 33] for i in range(0, num_patches, 33))
        assert parts.slots.tobytes() == whole.slots.tobytes()
        (beside, _) = runtime.compress([features, some_features(70, seed=9)])
        assert beside.slots.tobytes() == whole.slots.tobytes()


def test_bags_of_any_sizes_are_compressed_at_once(
    kind: str, runtime: Runtime, compressor: SlotCompressor
) -> None:
    bags = [some_features(n, seed=n) for n in (3, 150, 0, 1)]
    for bag, encoded in zip(bags, runtime.compress(bags), strict=True):
        wanted = expected(compressor, bag[None], np.array([len(bag)]))
        assert_close(kind, encoded.slots, wanted.slots[0])
        assert_close(kind, encoded.mass, wanted.mass[0])
        assert np.array_equal(encoded.assignments, wanted.assignments[0].numpy())
        assert encoded.salience is not None
        assert encoded.salience.shape == (len(bag),)
        assert encoded.logits is None
        assert encoded.tokens is None


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types_are_taken(kind: str, runtime: Runtime, dtype: type) -> None:
    features = some_features(20).astype(dtype)
    wanted = runtime.encode(features.astype(np.float32))
    assert_close(kind, runtime.encode(features).slots, torch.from_numpy(wanted.slots))


def test_halves_are_taken_as_stored_where_a_runtime_says_so(
    model: SlotCompressor, tmp_path: Path
) -> None:
    features = some_features(150).astype(np.float16)
    with open_runtime(make_model_file("torch", model, tmp_path), device="cpu") as runtime:
        wanted = runtime.encode(features.astype(np.float32))
        assert runtime.check_chunk(features, 0) is features
        assert_close("torch", runtime.encode(features).slots, wanted.slots)
        both = [features, features.astype(np.float32)]
        alone = [runtime.launch([chunk]).result()[0] for chunk in both]
        for mine, beside in zip(alone, runtime.launch(both).result(), strict=True):
            assert mine.weighted_sum.tobytes() == beside.weighted_sum.tobytes()
        features[7, 3] = np.inf
        with pytest.raises(NonFiniteFeatureError, match="row 7 "):
            runtime.encode(features)


def test_footprint_is_the_weighted_mean_and_deviation(runtime: Runtime) -> None:
    features, coords = some_features(60), np.random.default_rng(0).uniform(0, 9e4, (60, 2))
    output = runtime.run(features[None], np.array([60]))
    slide = runtime.encode(features, coords)
    assert slide.centroids is not None
    assert slide.spread is not None
    for slot in range(6):
        patches, column = np.nonzero(output.assignments[0] == slot)
        assert output.salience is not None
        weights = output.weights[0, patches, column] * output.salience[0, patches].astype(float)
        mean = np.average(coords[patches], axis=0, weights=weights)
        variance = np.average((coords[patches] - mean) ** 2, axis=0, weights=weights)
        np.testing.assert_allclose(slide.centroids[slot], mean, rtol=1e-5)
        np.testing.assert_allclose(slide.spread[slot], np.sqrt(variance), rtol=1e-5)


def test_an_empty_slot_has_no_place(runtime: Runtime) -> None:
    slide = runtime.encode(some_features(1), np.array([[7.0, 9.0]]))
    assert slide.centroids is not None
    assert slide.spread is not None
    taken = slide.mass > 0
    np.testing.assert_allclose(slide.centroids[taken], [[7, 9]] * 2)
    np.testing.assert_allclose(slide.spread[taken], 0, atol=1e-6)
    assert np.isnan(slide.centroids[~taken]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(runtime: Runtime, value: float) -> None:
    features = some_features(30)
    features[23, 5] = value
    with pytest.raises(NonFiniteFeatureError, match="row 23"):
        runtime.encode(features)
    with pytest.raises(NonFiniteFeatureError, match="row 23"):
        runtime.encode([features[:20], features[20:]])
    with pytest.raises(NonFiniteFeatureError, match=r"bag 1.*row 23"):
        runtime.run(np.stack([some_features(30), features]), np.array([30, 30]))


def test_large_finite_features_are_no_error(kind: str, runtime: Runtime) -> None:
    features = np.full((3, 16), 1e38, np.float32)
    features[:, ::2] *= -1
    features[:, 0] = 0
    if precision(kind) == "fp16":
        with pytest.raises(ShapeError, match=r"row 0 holds a feature beyond 65504") as caught:
            runtime.encode(features)
        assert caught.value.hint == "export with --precision fp32"
        return
    try:
        runtime.encode(features)
    except NonFiniteFeatureError:
        pytest.fail("a large value was taken for an infinite one")


def test_what_does_not_fit_is_refused(runtime: Runtime) -> None:
    good, lengths = some_features(4)[None], np.array([4])
    with pytest.raises(ShapeError, match="D = 9, the model takes D = 16"):
        runtime.encode(np.zeros((4, 9), np.float32))
    with pytest.raises(ShapeError, match="floating point, got int64"):
        runtime.encode(np.zeros((4, 16), np.int64))
    with pytest.raises(ShapeError, match=r"features must be \[N, 16\]"):
        runtime.encode(good)
    with pytest.raises(ShapeError, match="coords must be"):
        runtime.encode(good[0], np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="coords must be"):
        runtime.encode(good[0], np.zeros((5, 2)))
    with pytest.raises(ShapeError, match=r"features must be \[B, N, 16\]"):
        runtime.run(good[0], lengths)
    with pytest.raises(ShapeError, match="lengths must be 0 to N = 4"):
        runtime.run(good, np.array([5]))
    with pytest.raises(ShapeError, match="lengths must be 1 integers"):
        runtime.run(good, np.array([1.0]))


def test_it_is_a_context_manager(kind: str, model_file: ModelFile) -> None:
    runtime = open_runtime(model_file(kind), device=device_of(kind))
    with pytest.raises(RuntimeError, match="context manager"):
        runtime.encode(some_features(1))
    for _ in range(2):  # it may be entered again
        with runtime:
            runtime.encode(some_features(1))
    with pytest.raises(RuntimeError, match="context manager"):
        runtime.encode(some_features(1))


def test_limits_of_an_artefact_are_kept(
    model: SlotCompressor, artefact: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(artefact, tmp_path / "artefact")
    facts = Artefact.read(path)
    full = facts.models["full"].model_copy(update={"max_batch": 2})
    limits = {"patches": PatchRange(min=8, opt=8, max=100), "max_batch": 2}
    facts.model_copy(update={"models": {"full": full}, **limits}).write(path)
    with open_runtime(path) as runtime:
        with pytest.raises(ShapeError, match=r"N = 101 patches exceed .* 100") as caught:
            runtime.encode(some_features(101))
        assert caught.value.hint is not None
        assert "--max-patches" in caught.value.hint
        with pytest.raises(ShapeError, match="3 bags exceed"):
            runtime.run(np.zeros((3, 1, 16), np.float32), np.array([1, 1, 1]))
        # a bag smaller than the graph's range is padded, which changes nothing
        wanted = expected(model, some_features(3)[None], np.array([3]))
        assert_close("onnx", runtime.encode(some_features(3)).slots, wanted.slots[0])
        output = runtime.run(some_features(3)[None], np.array([3]))
        assert output.assignments.shape == (1, 3, 2)
        assert_close("onnx", output.slots, wanted.slots)


HEADS = ["onnx", "onnx-chunked"]


@pytest.mark.parametrize(
    ("kind", "pool", "head_dim"),
    [
        ("onnx", "mean", 8),
        ("onnx", "mass", 0),
        ("onnx-chunked", "mass", 8),
        ("onnx-chunked", "attention", 8),
        pytest.param("onnx", "attention", 8, marks=pytest.mark.matrix),
        pytest.param("onnx-chunked", "mass", 0, marks=pytest.mark.matrix),
    ],
)
def test_a_classifier_s_logits_come_with_the_slots(
    kind: str, pool: PoolName, head_dim: int, exported_with_head: Exported
) -> None:
    graph = "chunked" if "chunked" in kind else "full"
    folder = exported_with_head(pool=pool, head_dim=head_dim, graph=graph)
    assert Artefact.read(folder / "artefact").head_takes_mass == (pool == "mass")
    classifier = SlideClassifier.load(folder / CHECKPOINT).eval()
    features = some_features(100)
    with torch.no_grad():
        wanted = classifier([torch.from_numpy(features)]).logits[0]
    with open_runtime(folder / "artefact") as runtime:
        assert runtime.facts.classes == ("x", "y", "z")
        slide, (bag,) = runtime.encode(features), runtime.compress([features])
    for logits in (slide.logits, bag.logits):
        assert logits is not None
        assert_close(kind, logits, wanted)


@pytest.mark.parametrize("kind", HEADS)
def test_a_projector_s_tokens_come_with_the_slots(kind: str, exported_with_head: Exported) -> None:
    folder = exported_with_head(graph="chunked" if "chunked" in kind else "full")
    artefact, projector = Artefact.read(folder / "artefact"), Projector.load(folder / PROJECTOR)
    last = artefact.models["finish" if "chunked" in kind else "full"].outputs[-1]
    assert (artefact.what, artefact.token_dim, last.shape) == ("projector", 12, [None, 6, 12])
    features = some_features(100)
    wanted = expected(make_compressor(), features[None], np.array([100])).slots[0]
    with open_runtime(folder / "artefact") as runtime:
        slide = runtime.encode(features)
    assert slide.tokens is not None
    with torch.no_grad():
        assert_close(kind, slide.tokens, projector(wanted))


def test_a_gpu_that_is_not_there_is_an_error_unless_the_cpu_is_allowed(
    model_file: ModelFile,
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for kind in ("torch", "onnx"):
        path = model_file(kind)
        with pytest.raises(DeviceError), open_runtime(path, device="cuda"):
            pass
        with open_runtime(path, device="cuda", allow_cpu=True) as runtime:
            assert "cpu" in runtime.name
            assert any("runs on the CPU, as allowed" in note for note in runtime.notes)
            assert runtime.encode(some_features(3)).num_patches == 3


def test_bfloat16_on_the_cpu_is_refused(exported: Exported) -> None:
    artefact = exported(precision="bf16", max_batch=4)  # as tests of the export make it
    with pytest.raises(ArtefactError, match="no bfloat16 on the CPU"), open_runtime(artefact):
        pass


def test_a_truncated_graph_is_refused(artefact: Path, tmp_path: Path) -> None:
    path = shutil.copytree(artefact, tmp_path / "artefact")
    content = (path / "model.onnx").read_bytes()
    (path / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtefactError, match="is not the file the artefact was made with"):
        open_runtime(path)


def test_tensorrt_11_and_onnx_runtime_s_provider_do_not_go_together(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcssa_runtimes.backends.onnx_runtime.version", lambda package: "11.0.1")
    with (
        pytest.raises(DeviceError, match=r"provider needs TensorRT 10, installed is 11\.0\.1"),
        open_runtime(artefact, "onnx-trt"),
    ):
        pass
