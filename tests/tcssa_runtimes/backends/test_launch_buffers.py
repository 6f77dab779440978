"""Launch buffers on the CPU, ONNX Runtime in the place of an engine; double-buffered packing."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from exports import Exported
from factories import make_features, write_bag
from torch import Tensor

from tcssa import SlotCompressor
from tcssa.artefact import Artefact, TensorSpec
from tcssa.compressor.aggregation import plain_sums_of
from tcssa.errors import ShapeError
from tcssa.features import open_bag
from tcssa_runtimes import encode, open_runtime
from tcssa_runtimes.archive.slot_files import FOLDER, slide_features_path
from tcssa_runtimes.backends.artefact_runtime import chunk_sums
from tcssa_runtimes.backends.launch_buffers import LaunchBuffers
from tcssa_runtimes.backends.onnx_runtime import OnnxRuntime, bound_call
from tcssa_runtimes.contract.chunks import Features
from tcssa_runtimes.contract.launch import Launch
from tcssa_runtimes.contract.slide_sums import ChunkSums

ROWS, BATCH = 64, 3


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def pair(request: pytest.FixtureRequest, exported: Exported) -> Path:
    # the model of the runtimes' contract, whose tests read the same artefacts
    return exported(salience=True, graph="chunked", chunk_patches=ROWS, precision=request.param)


def launch_buffers(pair: Path) -> LaunchBuffers:
    partial = Artefact.read(pair).models["partial"]
    session = onnxruntime.InferenceSession(pair / partial.file, providers=["CPUExecutionProvider"])
    sizes = {
        tensor.name: [BATCH, *[ROWS if size is None else size for size in tensor.shape[1:]]]
        for tensor in (*partial.inputs, *partial.outputs)
    }
    inputs, outputs = (
        [tensor.model_copy(update={"shape": sizes[tensor.name]}) for tensor in tensors]
        for tensors in (partial.inputs, partial.outputs)
    )

    def execute(tensors: Mapping[str, Tensor], stream: int) -> None:
        assert stream == 0
        names = [tensor.name for tensor in outputs]
        feed = {tensor.name: tensors[tensor.name].numpy() for tensor in inputs}
        for name, array in zip(names, session.run(names, feed), strict=True):
            tensors[name].copy_(torch.from_numpy(array))

    return LaunchBuffers(inputs, outputs, "cpu", execute)


def chunks(*sizes: int) -> list[Features]:
    return [make_features(size, seed=size).half().float().numpy() for size in sizes]


def test_a_launch_sums_up_as_the_runtime_does_whatever_was_there_before(pair: Path) -> None:
    with open_runtime(pair) as runtime:
        buffers = launch_buffers(pair)
        for given in (chunks(64, 64, 64), chunks(5, 64, 1), chunks(7)):
            buffers.start(given)
            found = chunk_sums(buffers.wait(), [len(chunk) for chunk in given])
            for sums, chunk in zip(found, given, strict=True):
                (expected,) = runtime.launch([chunk]).result()
                np.testing.assert_allclose(sums.weighted_sum, expected.weighted_sum, atol=1e-2)
                np.testing.assert_allclose(sums.mass, expected.mass, atol=1e-5)
                assert np.array_equal(sums.assignments, expected.assignments)
                assert len(sums.weights) == len(chunk)


def test_a_launch_takes_halves_as_stored_and_arrays_that_are_only_to_be_read(pair: Path) -> None:
    buffers = launch_buffers(pair)
    given = chunks(64, 9, 40)
    halves = [chunk.astype(np.float16) for chunk in given]
    halves[1].setflags(write=False)
    found = []
    for each in (given, halves):
        buffers.start(each)
        found.append(buffers.wait())
    for name, array in found[0].items():
        assert np.array_equal(array, found[1][name]), name


class DoubleBuffered(OnnxRuntime):
    """ONNX Runtime on two launch buffers in turn, as TensorRT runs."""

    def _launch(self, chunks: Sequence[Features]) -> Launch:
        buffers = self.ring[0]
        self.ring.reverse()
        buffers.start(chunks)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return Started(self, buffers, [len(chunk) for chunk in chunks])


@dataclass
class Started:
    """Handle of a launch, which counts those under way."""

    runtime: DoubleBuffered
    buffers: LaunchBuffers
    lengths: list[int]

    def result(self) -> list[ChunkSums]:
        self.runtime.under_way -= 1
        return chunk_sums(self.buffers.wait(), self.lengths)


def test_two_launches_at_once_come_to_the_same_slides(pair: Path, tmp_path: Path) -> None:
    sizes = [150, 1, 64, 129, 3, 65, 200, 128, 40, 41, 42, 700]
    for i, size in enumerate(sizes):
        write_bag(tmp_path / "bags" / f"s{i:02d}.h5", size, seed=i)
    runtime = DoubleBuffered(pair, Artefact.read(pair), "cpu")
    runtime.ring = [launch_buffers(pair), launch_buffers(pair)]
    runtime.under_way = runtime.most_under_way = 0
    runtime.chunks_at_once, runtime.launches_at_once = BATCH, 2
    report = encode([tmp_path / "bags"], tmp_path / "out", runtime)
    assert (report.num_encoded, report.failed, runtime.under_way) == (len(sizes), [], 0)
    assert runtime.most_under_way == 2
    with open_runtime(pair) as one_by_one:
        for i in range(len(sizes)):
            with open_bag(tmp_path / "bags" / f"s{i:02d}.h5") as bag:
                expected = one_by_one.encode(bag.read())
            with open_bag(slide_features_path(tmp_path / "out", f"s{i:02d}")) as slots:
                assert slots.path.parent.name == FOLDER
                np.testing.assert_allclose(slots.read(), expected.slots, atol=4e-3)


def test_a_slide_is_streamed_by_launches_and_none_is_left_after_an_error(pair: Path) -> None:
    runtime = DoubleBuffered(pair, Artefact.read(pair), "cpu")
    runtime.ring = [launch_buffers(pair), launch_buffers(pair)]
    runtime.under_way = runtime.most_under_way = 0
    runtime.chunks_at_once, runtime.launches_at_once = BATCH, 2
    (features,) = chunks(700)
    with runtime, open_runtime(pair) as one_by_one:
        expected = one_by_one.encode(features)
        np.testing.assert_allclose(runtime.encode(features).slots, expected.slots, atol=4e-3)
        assert (runtime.most_under_way, runtime.under_way) == (2, 0)
        with pytest.raises(ShapeError):
            runtime.encode([features, features[:, :9]])
        assert runtime.under_way == 0


def test_a_session_runs_on_bound_memory(pair: Path) -> None:
    partial = Artefact.read(pair).models["partial"]
    session = onnxruntime.InferenceSession(pair / partial.file, providers=["CPUExecutionProvider"])
    for size in (3, 50, 7):  # shapes vary from call to call
        (features,) = chunks(size)
        feed = {
            "features": features[None].astype(partial.inputs[0].dtype),
            "lengths": np.array([size]),
        }
        found = bound_call(session, feed, "cpu")
        names = [output.name for output in session.get_outputs()]
        assert list(found) == names
        for name, expected in zip(names, session.run(names, feed), strict=True):
            assert np.array_equal(found[name], expected)


def torch_partial(model: SlotCompressor, device: str) -> LaunchBuffers:
    """Buffers of a graph that torch can record: the sums of a batch of chunks."""
    size, slots = model.config.feature_dim, model.config.num_slots
    shapes: dict[str, tuple[str, list[int]]] = {
        "features": ("float32", [BATCH, ROWS, size]),
        "lengths": ("int64", [BATCH]),
        "mean": ("float32", [BATCH, slots, size]),
        "mass": ("float32", [BATCH, slots]),
        "assignments": ("int64", [BATCH, ROWS, 2]),
        "weights": ("float32", [BATCH, ROWS, 2]),
    }
    specs = [
        TensorSpec(name=name, dtype=dtype, shape=list(shape))
        for name, (dtype, shape) in shapes.items()
    ]

    def execute(tensors: Mapping[str, Tensor], stream: int) -> None:
        assert stream == torch.cuda.current_stream().cuda_stream
        probs = model.router.gate(tensors["features"]).softmax(dim=2)
        weights, assignments = probs.topk(2, dim=2)
        real = torch.arange(ROWS, device=device) < tensors["lengths"].unsqueeze(1)
        dense = torch.zeros_like(probs).scatter(2, assignments, weights * real.unsqueeze(2))
        mass = dense.sum(dim=1)
        tensors["mass"].copy_(mass)
        share = dense / mass.clamp(min=1e-30).unsqueeze(1)
        tensors["mean"].copy_(share.transpose(1, 2) @ tensors["features"])
        tensors["assignments"].copy_(assignments)
        tensors["weights"].copy_(weights)

    return LaunchBuffers(specs[:2], specs[2:], device, execute)


@pytest.mark.gpu
def test_on_a_gpu_two_launches_are_copied_and_replayed_side_by_side(model: SlotCompressor) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = copy.deepcopy(model).cuda()
    with torch.no_grad():
        ring = [torch_partial(on_gpu, "cuda"), torch_partial(on_gpu, "cuda")]
        rounds = [chunks(64, 64, 64), chunks(5, 64, 1), chunks(7), chunks(33, 2), chunks(64, 1, 9)]
        found = []
        for i, given in enumerate(
            rounds
        ):  # a launch is waited for while the next one is on its way
            ring[i % 2].start(given)
            if i:
                found.append(ring[(i - 1) % 2].wait())
        found.append(ring[(len(rounds) - 1) % 2].wait())
        for given, arrays in zip(rounds, found, strict=True):
            sums = chunk_sums(arrays, [len(chunk) for chunk in given])
            for chunk, of_chunk in zip(given, sums, strict=True):
                plain = plain_sums_of(model.router, torch.from_numpy(chunk))
                np.testing.assert_allclose(of_chunk.mass, plain.state.mass, rtol=1e-4, atol=1e-6)
                expected = plain.state.weighted_sum
                np.testing.assert_allclose(of_chunk.weighted_sum, expected, rtol=1e-4, atol=1e-4)
                assert np.array_equal(of_chunk.assignments, plain.assignments)
