"""Does an exported model compute what torch computes?

A single failed comparison fails the export. Values alone would not do: routing is a choice, and
a wrong second slot of a few patches hides in the average of thousands. So assignments are
compared too, and a difference passes only where torch itself was all but undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import Parity, ParityRow
from tcssa.errors import ParityError

if TYPE_CHECKING:
    from tcssa import SlotCompressor

TOLERANCE = 2e-5
"""Largest deviation, relative to the largest entry of the tensor (at least 1). Routing weights and
their sums are as exact as the logits they are the exponentials of: theirs is relative to the
largest logit."""

UNDECIDED_MARGIN = 1e-4
"""Two logits closer than this, relative to the patch's largest (at least 1), are a draw."""

_SIZES = (1, 2, 7, 1000, 20_000)
_BATCH = 3


class Outputs(Protocol):
    """What a model returns, as arrays; shapes as in `tcssa_exporters.graph`."""

    @property
    def slots(self) -> NDArray[np.float32]:
        """[B, K, D]."""

    @property
    def mass(self) -> NDArray[np.float32]:
        """[B, K]."""

    @property
    def assignments(self) -> NDArray[np.int64]:
        """[B, N, T]."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """[B, N, T]."""


Run = Callable[[NDArray[np.float32], NDArray[np.int64]], Outputs]
"""Features [B, N, D] and lengths [B] to outputs."""


class Case(NamedTuple):
    """One batch on which both are compared."""

    name: str
    features: NDArray[np.float32]
    lengths: NDArray[np.int64]


def verify(
    model: SlotCompressor,
    run: Run,
    status: str,
    *,
    max_patches: int | None = None,
    max_batch: int | None = None,
) -> Parity:
    """Compare an exported model with the torch model it was made from.

    Args:
        model: The torch model, in evaluation mode.
        run: Runs the exported one.
        status: What the report says when all is well, e.g. ``passed with onnxruntime 1.31``.
        max_patches: Largest N that the exported model takes; larger cases are left out.
        max_batch: Largest B, likewise.

    Raises:
        ParityError: They differ; the message names the case, the tensor and the deviation.
    """
    rows = [
        _compare(model, run, case)
        for case in cases(model.config.feature_dim)
        if (max_patches is None or case.features.shape[1] <= max_patches)
        and (max_batch is None or len(case.lengths) <= max_batch)
    ]
    return Parity(status=status, tolerance=TOLERANCE, rows=rows)


def cases(feature_dim: int) -> Iterator[Case]:
    """The batches of a verification; the same ones every time."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal((*shape, feature_dim), dtype=np.float32)

    for size in _SIZES:
        yield Case("one bag", normal(1, size), np.array([size]))
        # of N = 1, the second bag has no patch at all
        lengths = np.array([size, size // 2, max(1, size // 3)])
        yield Case("several bags", normal(_BATCH, size), lengths)
    # equal patches leave slots empty, and equal addends show a sum that drifts
    many = _SIZES[-1]
    yield Case("empty slots", np.repeat(normal(1, 1), many, axis=1), np.array([many]))
    yield Case("all-zero features", np.zeros((1, 1000, feature_dim), np.float32), np.array([1000]))
    yield Case("large magnitudes", 100 * normal(1, 1000), np.array([1000]))


def onnx_runner(path: Path) -> tuple[Run, str]:
    """Runs an ONNX file on the CPU; also says with what: ``onnxruntime 1.31.1``.

    Raises:
        ParityError: ONNX Runtime refuses the file.
    """
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes share no narrower base
        raise ParityError(f"ONNX Runtime refuses the exported graph: {error}") from error

    def run(features: NDArray[np.float32], lengths: NDArray[np.int64]) -> Outputs:
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"features": features, "lengths": lengths})
        return _Arrays(**dict(zip(names, values, strict=True)))

    return run, f"onnxruntime {ort.__version__}"


class _Arrays(NamedTuple):
    slots: NDArray[np.float32]
    mass: NDArray[np.float32]
    assignments: NDArray[np.int64]
    weights: NDArray[np.float32]


def _compare(model: SlotCompressor, run: Run, case: Case) -> ParityRow:
    batch, num_patches, _ = case.features.shape
    expected = _expected(model, case)
    found = run(case.features, case.lengths)
    where = f"case {case.name!r} (B = {batch}, N = {num_patches})"
    for name in _Arrays._fields:
        shapes = getattr(found, name).shape, getattr(expected, name).shape
        if shapes[0] != shapes[1]:
            raise ParityError(f"{where}: {name} have shape {shapes[0]}, torch gives {shapes[1]}")
    sharpness = _largest_logit(model, case)
    slots = _deviation(found.slots, expected.slots, f"{where}: slots")
    mass = _deviation(found.mass, expected.mass, f"{where}: mass", sharpness)
    alike = (found.assignments == expected.assignments).all(axis=2)
    _require_undecided(model, case.features[~alike], where)
    weights = found.weights[alike], expected.weights[alike]
    _deviation(*weights, f"{where}: routing weights", sharpness)
    real = np.arange(num_patches) < case.lengths[:, None]
    return ParityRow(
        case=case.name,
        batch=batch,
        num_patches=num_patches,
        max_abs_slots=slots,
        max_abs_mass=mass,
        routed_alike=float(alike[real].mean()),
    )


def _expected(model: SlotCompressor, case: Case) -> _Arrays:
    import torch

    num_patches = case.features.shape[1]
    mask = torch.arange(num_patches) < torch.from_numpy(case.lengths).unsqueeze(1)
    with torch.no_grad():
        output = model(torch.from_numpy(case.features), mask)
    arrays: dict[str, NDArray[Any]] = {
        name: getattr(output, name).numpy() for name in _Arrays._fields
    }
    return _Arrays(**arrays)


def _largest_logit(model: SlotCompressor, case: Case) -> float:
    import torch

    with torch.no_grad():
        return float(model.router.gate(torch.from_numpy(case.features)).abs().max())


def _deviation(found: NDArray[Any], expected: NDArray[Any], what: str, scale: float = 1.0) -> float:
    """Largest absolute deviation; raises where it exceeds the tolerance or is NaN."""
    if not expected.size:
        return 0.0
    deviation = float(np.abs(found - expected).max())
    allowed = TOLERANCE * max(1.0, scale, float(np.abs(expected).max()))
    if not deviation <= allowed:  # also true of NaN
        raise ParityError(
            f"{what} deviate from torch by {deviation:.3g}, {allowed:.3g} is allowed",
            hint="the export was discarded; please report this with the checkpoint's shape",
        )
    return deviation


def _require_undecided(model: SlotCompressor, features: NDArray[np.float32], where: str) -> None:
    """Raise unless torch was all but undecided on each of these patches [M, D]."""
    import torch

    if not len(features):
        return
    with torch.no_grad():
        logits = model.router.gate(torch.from_numpy(features)).sort(dim=1, descending=True).values
    top = logits[:, : model.config.top_k + 1]
    gap = (top[:, :-1] - top[:, 1:]).min(dim=1).values / top[:, 0].abs().clamp(min=1)
    decided = int((gap >= UNDECIDED_MARGIN).sum())
    if decided:
        raise ParityError(
            f"{where}: {decided} patches go to other slots than in torch, "
            f"with logits up to {float(gap.max()):.3g} apart"
        )
