"""What every runtime promises, asked of each of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import make_compressor, make_features
from numpy.typing import NDArray

from tcssa import CompressorOutput, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.errors import NonFiniteFeatureError, ShapeError
from tcssa_exporters import export_compressor
from tcssa_runtimes import Runtime, open_runtime

TOLERANCE = 2e-5
RUNTIMES = ["torch", "onnx", pytest.param("trt", marks=pytest.mark.gpu)]


def make_model_file(kind: str, model: SlotCompressor, folder: Path, **limits: int) -> Path:
    """The file or folder that a runtime opens."""
    if kind == "torch":
        save_compressor(model, folder / "model.safetensors")
        return folder / "model.safetensors"
    if kind == "trt" and not torch.cuda.is_available():
        pytest.skip("trt: no CUDA device")
    export_compressor(model, folder / kind, format=kind, checkpoint_sha256="x", **limits)
    return folder / kind


@pytest.fixture(scope="module", params=RUNTIMES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def runtime(
    kind: str, model: SlotCompressor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    with open_runtime(make_model_file(kind, model, tmp_path_factory.mktemp(kind))) as opened:
        yield opened


def expected(
    model: SlotCompressor, features: NDArray[np.float32], lengths: NDArray[np.int64]
) -> CompressorOutput:
    mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
    with torch.no_grad():
        return model(torch.from_numpy(features), mask)


def assert_close(actual: NDArray[np.float32], wanted: torch.Tensor) -> None:
    allowed = TOLERANCE * max(1.0, float(wanted.abs().max()))
    np.testing.assert_allclose(actual, wanted.numpy(), atol=allowed, rtol=0)


def some_features(num_patches: int, seed: int = 0) -> NDArray[np.float32]:
    return make_features(num_patches, seed=seed).numpy()


@pytest.mark.parametrize("num_patches", [0, 1, 4, 1000])
def test_one_slide_equals_the_compressor(
    runtime: Runtime, model: SlotCompressor, num_patches: int
) -> None:
    features = some_features(num_patches)
    slide = runtime.encode(features)
    wanted = expected(model, features[None], np.array([num_patches]))
    assert slide.num_patches == num_patches
    assert slide.slots.dtype == slide.mass.dtype == np.float32
    assert slide.centroids is None
    assert slide.spread is None
    assert_close(slide.slots, wanted.slots[0])
    assert_close(slide.mass, wanted.mass[0])


def test_a_batch_equals_the_compressor_whatever_stands_behind_its_lengths(
    runtime: Runtime, model: SlotCompressor
) -> None:
    features = np.stack([some_features(50, seed) for seed in range(4)])
    lengths = np.array([50, 1, 0, 17])
    wanted = expected(model, features, lengths)
    for bag, length in zip(features, lengths, strict=True):
        bag[length:] = np.nan
    output = runtime.run(features, lengths)
    assert_close(output.slots, wanted.slots)
    assert_close(output.mass, wanted.mass)
    assert_close(output.weights, wanted.weights)
    assert np.array_equal(output.assignments, wanted.assignments.numpy())
    assert np.isnan(features[1, 1:]).all(), "the caller's array was written to"


def test_the_order_of_patches_does_not_matter(runtime: Runtime) -> None:
    features, coords = some_features(300), np.random.default_rng(0).uniform(0, 9e4, (300, 2))
    order = np.random.default_rng(1).permutation(300)
    one, other = runtime.encode(features, coords), runtime.encode(features[order], coords[order])
    assert_close(one.slots, torch.from_numpy(other.slots))
    np.testing.assert_allclose(one.centroids, other.centroids, rtol=1e-5)


def test_chunks_give_the_same_as_the_whole(runtime: Runtime) -> None:
    features, coords = some_features(300), np.random.default_rng(0).uniform(0, 9e4, (300, 2))
    whole = runtime.encode(features, coords)
    chunked = runtime.encode((features[i : i + 7] for i in range(0, 300, 7)), coords)
    assert_close(chunked.slots, torch.from_numpy(whole.slots))
    np.testing.assert_allclose(chunked.spread, whole.spread, rtol=1e-5)


def test_empty_slots_are_never_nan(runtime: Runtime) -> None:
    slide = runtime.encode(np.repeat(some_features(1), 40, axis=0))
    assert (slide.mass > 0).sum() == 2
    assert np.isfinite(slide.slots).all()


def test_exact_ties_take_two_slots_and_the_lower_first(kind: str, tmp_path: Path) -> None:
    model = make_compressor()
    torch.nn.init.zeros_(model.router.gate.weight)
    torch.nn.init.zeros_(model.router.gate.bias)
    with open_runtime(make_model_file(kind, model, tmp_path)) as runtime:
        output = runtime.run(some_features(5)[None], np.array([5]))
    assert output.assignments.tolist() == [[[0, 1]] * 5]
    np.testing.assert_allclose(output.weights, 1 / 6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floating_types_are_taken(runtime: Runtime, dtype: type) -> None:
    features = some_features(20).astype(dtype)
    wanted = runtime.encode(features.astype(np.float32))
    assert_close(runtime.encode(features).slots, torch.from_numpy(wanted.slots))


def test_footprint_is_the_weighted_mean_and_deviation(runtime: Runtime) -> None:
    features, coords = some_features(60), np.random.default_rng(0).uniform(0, 9e4, (60, 2))
    output = runtime.run(features[None], np.array([60]))
    slide = runtime.encode(features, coords)
    assert slide.centroids is not None
    assert slide.spread is not None
    for slot in range(6):
        patches, column = np.nonzero(output.assignments[0] == slot)
        weights = output.weights[0, patches, column].astype(np.float64)
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


def test_large_finite_features_are_no_error(runtime: Runtime) -> None:
    features = np.full((3, 16), 1e38, np.float32)
    features[:, ::2] *= -1
    features[:, 0] = 0
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


def test_it_is_a_context_manager(kind: str, model: SlotCompressor, tmp_path: Path) -> None:
    runtime = open_runtime(make_model_file(kind, model, tmp_path))
    with pytest.raises(RuntimeError, match="context manager"):
        runtime.encode(some_features(1))
    for _ in range(2):  # it may be entered again
        with runtime:
            runtime.encode(some_features(1))
    with pytest.raises(RuntimeError, match="context manager"):
        runtime.encode(some_features(1))


def test_limits_of_an_artefact_are_kept(model: SlotCompressor, tmp_path: Path) -> None:
    path = make_model_file("onnx", model, tmp_path, min_patches=8, max_patches=100, max_batch=2)
    with open_runtime(path) as runtime:
        with pytest.raises(ShapeError, match=r"N = 101 patches exceed .* 100") as caught:
            runtime.encode(some_features(101))
        assert caught.value.hint is not None
        assert "--max-patches" in caught.value.hint
        with pytest.raises(ShapeError, match="3 bags exceed"):
            runtime.run(np.zeros((3, 1, 16), np.float32), np.array([1, 1, 1]))
        # a bag smaller than the graph's range is padded, which changes nothing
        wanted = expected(model, some_features(3)[None], np.array([3]))
        assert_close(runtime.encode(some_features(3)).slots, wanted.slots[0])
        output = runtime.run(some_features(3)[None], np.array([3]))
        assert output.assignments.shape == (1, 3, 2)
        assert_close(output.slots, wanted.slots)
