"""Exported models for comparisons, each as one function from a padded batch to outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import ParityError, one_line
from tcssa_exporters.expected import slot_vectors
from tcssa_exporters.verify import Arrays, Run

Call = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""Function that runs one graph, from inputs by name to outputs by name."""

Coords = NDArray[np.float64]
"""Positions of patches (x, y) in µm, [B, N, 2]."""

_CHUNKS_AT_ONCE = 4
_PADDING = {"assignments": -1, "weights": 0, "salience": 0}
"""Outputs per patch, and their values for padding."""


def onnx_call(path: Path) -> Call:
    """Return a function that runs an ONNX file on the CPU.

    Raises:
        ParityError: ONNX Runtime refuses the file.
    """
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes share no narrower base
        reason = one_line(error, 300)
        raise ParityError(f"ONNX Runtime refuses the exported graph: {reason}") from error
    names = [output.name for output in session.get_outputs()]
    taken = {each.name for each in session.get_inputs()}  # masses only where a head needs them

    def call(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        feed = {name: value for name, value in inputs.items() if name in taken}
        return dict(zip(names, session.run(names, feed), strict=True))

    return call


@contextmanager
def rounded_calls(paths: Sequence[Path]) -> Iterator[list[Call]]:
    """Yield functions that run ONNX files with every 16-bit result rounded; see `rounded_model`."""
    import onnx

    from tcssa_exporters.half_emulation import rounded_model

    with TemporaryDirectory(prefix="tcssa-", ignore_cleanup_errors=True) as folder:
        calls = []
        for path in paths:
            copy = Path(folder) / path.name
            onnx.save_model(
                rounded_model(onnx.load_model(path)),
                copy,
                save_as_external_data=True,  # in float32 its weights may exceed a message's 2 GiB
                location=copy.name + ".data",
            )
            calls.append(onnx_call(copy))
        yield calls


def full_run(call: Call) -> Run:
    """Return a function that runs a full graph on padded batches."""

    def run(
        features: NDArray[Any], lengths: NDArray[np.int64], coords: Coords | None = None
    ) -> Arrays:
        """See `tcssa_exporters.verify.Run`."""
        feed = {"features": features, "lengths": lengths}
        if coords is not None:
            feed["coords"] = (coords - coords.mean(axis=1, keepdims=True)).astype(np.float32)
        return call(feed)

    return run


def chunked_run(partial: Call, finish: Call, chunk_patches: int) -> Run:
    """Return a function that runs a chunked pair on padded batches, chunk by chunk.

    Args:
        partial: Runs the graph from patches to means and masses; gets chunks of several bags at
            once.
        finish: Runs the graph from means to slots and the outputs of heads.
        chunk_patches: Rows of a chunk.
    """

    def run(
        features: NDArray[Any], lengths: NDArray[np.int64], coords: Coords | None = None
    ) -> Arrays:
        """See `tcssa_exporters.verify.Run`."""
        batch, num_patches, _ = features.shape
        places = [
            (bag, begin, min(begin + chunk_patches, length))
            for bag, length in enumerate(lengths.tolist())
            for begin in range(0, max(length, 1), chunk_patches)  # an empty bag has one chunk too
        ]
        sums: list[Any] = [0] * batch
        mass: list[Any] = [0] * batch
        routing: dict[str, NDArray[Any]] = {}
        for first in range(0, len(places), _CHUNKS_AT_ONCE):
            group = places[first : first + _CHUNKS_AT_ONCE]
            found = partial(_padded(features, group, chunk_patches))
            for name, nothing in _of_patches(found):
                shape = (batch, num_patches, *found[name].shape[2:])
                routing.setdefault(name, np.full(shape, nothing, found[name].dtype))
            for row, (bag, begin, end) in enumerate(group):
                sums[bag] = sums[bag] + found["mean"][row] * found["mass"][row][:, None]
                mass[bag] = mass[bag] + found["mass"][row]
                for name, values in routing.items():
                    values[bag, begin:end] = found[name][row, : end - begin]
        masses = np.stack(mass)
        feed: dict[str, NDArray[Any]] = {
            "mean": np.stack(sums) / np.where(masses > 0, masses, 1)[:, :, None]
        }
        feed["mass"] = masses
        if coords is not None:
            feed["moments"] = _moments(routing, coords, masses.shape[1])
        return {**finish(feed), "mass": masses, **routing}

    return run


def _moments(routing: Arrays, coords: Coords, num_slots: int) -> NDArray[np.float32]:
    """Compute the moments of each bag's slots that a model with places takes, [B, K, M]."""
    weights = routing["weights"]
    if "salience" in routing:
        weights = weights * routing["salience"][:, :, None]
    return slot_vectors(routing["assignments"], weights, coords, num_slots)


def _padded(
    features: NDArray[Any], places: Sequence[tuple[int, int, int]], chunk_patches: int
) -> dict[str, NDArray[Any]]:
    """Join chunks (bag, begin, end) into a batch; rows beyond their lengths are zero."""
    batch = np.zeros((len(places), chunk_patches, features.shape[2]), features.dtype)
    for row, (bag, begin, end) in enumerate(places):
        batch[row, : end - begin] = features[bag, begin:end]
    return {"features": batch, "lengths": np.array([end - begin for _, begin, end in places])}


def _of_patches(names: Collection[str]) -> list[tuple[str, int]]:
    """Choose the outputs that are per patch, with their values for padding."""
    return [(name, nothing) for name, nothing in _PADDING.items() if name in names]


class EngineRuntime(Protocol):
    """The part of a runtime that a comparison needs; `tcssa_runtimes.Runtime` has it."""

    def compress(
        self, bags: Sequence[NDArray[Any]], coords: Sequence[NDArray[Any]] | None = None
    ) -> Sequence[Any]:
        """Compress whole bags.

        Args:
            bags: Features [N, D] of each bag.
            coords: Positions of patches in µm, [N, 2] for each bag; needed if the model has places.

        Returns:
            For each bag its slots, mass, assignments, weights, logits and tokens.
        """


def engine_run(runtime: EngineRuntime, heads: Sequence[str]) -> Run:
    """Return a function that runs a runtime, which takes bags without padding, on padded batches.

    Args:
        runtime: The runtime of the engines.
        heads: Names of the heads' outputs.
    """

    def run(
        features: NDArray[Any], lengths: NDArray[np.int64], coords: Coords | None = None
    ) -> Arrays:
        """See `tcssa_exporters.verify.Run`."""
        bags = [bag[:length] for bag, length in zip(features, lengths.tolist(), strict=True)]
        places = None
        if coords is not None:
            places = [at[: len(bag)] for at, bag in zip(coords, bags, strict=True)]
        encoded = runtime.compress(bags, places)
        found = {
            name: np.stack([getattr(bag, name) for bag in encoded])
            for name in ("slots", "mass", *heads)
        }
        names = [name for name in _PADDING if getattr(encoded[0], name) is not None]
        for name, nothing in _of_patches(names):
            parts = [getattr(bag, name) for bag in encoded]
            shape = (*features.shape[:2], *parts[0].shape[1:])
            found[name] = np.full(shape, nothing, parts[0].dtype)
            for row, part in enumerate(parts):
                found[name][row, : len(part)] = part
        return found

    return run
