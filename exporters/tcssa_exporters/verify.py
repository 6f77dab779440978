"""Comparison of exported models with torch.

A single failed comparison fails the export. Values alone would not be enough: routing is a choice,
and a wrong second slot of a few patches is lost in the average of thousands. So assignments are
compared too, and may differ only where torch's own choice is almost a tie. Values are then compared
with torch's results for the same routing. The members of an ensemble are computed one by one and
joined as its graphs join them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import ParityRow
from tcssa.errors import ParityError
from tcssa_exporters.expected import Outputs, TorchModel
from tcssa_exporters.parity_cases import Case, cases
from tcssa_exporters.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from tcssa_exporters.source import ExportSource

_ROUTING_TOLERANCE = PRECISIONS["fp32"].tolerance
"""Tolerance of masses and routing weights, which are float32 in every precision. As exponentials
they are only as exact as their logits, so it is relative to the largest logit."""

_SALIENCE_LOGIT = 20.0
"""Scale of salience, whose exponent is a logit of at most that size."""

Arrays = Mapping[str, NDArray[Any]]
"""An exported model's outputs by name; see `tcssa_exporters.expected.Outputs`."""

Run = Callable[[NDArray[Any], NDArray[np.int64], NDArray[np.float64] | None], Arrays]
"""Function that runs an exported model on features [B, N, D], lengths [B] and, if the model has
places, coords [B, N, 2] in µm."""


class Verifier:
    """Holds the torch model, or an ensemble's, and compares exported models with it.

    Args:
        source: The model; it is copied to the CPU in float32 and not changed.
        precision: Precision of the exported model.
    """

    def __init__(self, source: ExportSource, precision: Precision) -> None:
        self.precision = precision
        self.models = [TorchModel(member) for member in source.members]
        self.heads, self.spatial = list(source.heads), source.config.spatial

    def verify(
        self,
        run: Run,
        runner: str,
        *,
        max_patches: int | None = None,
        max_batch: int | None = None,
        large_bag: bool = False,
    ) -> list[ParityRow]:
        """Compare an exported model with torch on every case.

        Args:
            run: Runs the exported model.
            runner: Name of the tool that runs it, for the table.
            max_patches: Largest N that the exported model takes; larger cases are left out.
            max_batch: Largest B, likewise.
            large_bag: Whether to add a bag of 100,000 patches; see `cases`.

        Returns:
            One row per case.

        Raises:
            ParityError: The outputs differ too much; the message names the case, the tensor and the
                deviation.
        """
        return [
            self._compare(run, case, runner)
            for case in cases([each.model for each in self.models], large_bag=large_bag)
            if (max_patches is None or case.features.shape[1] <= max_patches)
            and (max_batch is None or len(case.lengths) <= max_batch)
        ]

    def _compare(self, run: Run, case: Case, runner: str) -> ParityRow:
        features = case.features.astype(self.precision.input)
        batch, num_patches, _ = features.shape
        where = f"case {case.name!r} (B = {batch}, N = {num_patches}, {runner})"
        coords = case.coords if self.spatial else None
        found = run(features, case.lengths, coords)
        models = self.models
        expected = self._joined([each.outputs(features, case.lengths, coords) for each in models])
        _require_shapes(found, expected, where)
        alike = (found["assignments"] == expected["assignments"]).all(axis=2)
        if not np.array_equal(found["assignments"] < 0, expected["assignments"] < 0):
            raise ParityError(f"{where}: padding is routed, or patches are not")
        logits = [each.logits(features) for each in models]
        if not alike.all():
            chosen = self._of_members(found["assignments"])
            for each, slots, of_each in zip(models, chosen, logits, strict=True):
                each.require_undecided(slots[~alike], of_each[~alike], where)
            expected = self._joined(
                [
                    each.outputs_of_routing(slots, features, coords)
                    for each, slots in zip(models, chosen, strict=True)
                ]
            )
        sharpness = max(float(np.abs(each).max()) for each in logits)
        check = _Comparison(where)
        check.compare("mass", found, expected, _ROUTING_TOLERANCE, sharpness)
        # an ensemble's weights hold the salience
        joint = max(sharpness, _SALIENCE_LOGIT) if len(models) > 1 else sharpness
        check.compare("weights", found, expected, _ROUTING_TOLERANCE, joint)
        if "salience" in expected:
            check.compare("salience", found, expected, _ROUTING_TOLERANCE, _SALIENCE_LOGIT)
        rounding = max(each.rounding(features) for each in models)
        rounding /= max(1.0, float(np.abs(expected["slots"]).max()))
        for name in ("slots", *self.heads):
            check.compare(name, found, expected, max(self.precision.tolerance, rounding))
        real = np.arange(num_patches) < case.lengths[:, None]
        return ParityRow(
            case=case.name,
            runner=runner,
            batch=batch,
            num_patches=num_patches,
            max_abs_slots=check.deviations["slots"],
            max_abs_mass=check.deviations["mass"],
            max_abs_heads={name: check.deviations[name] for name in self.heads},
            routed_alike=float(alike[real].mean()),
            share_of_tolerance=check.worst,
        )

    def _joined(self, outputs: Sequence[Outputs]) -> Outputs:
        """Join the members' outputs as the graph of an ensemble gives them."""
        if len(outputs) == 1:
            return outputs[0]
        for index, member in enumerate(outputs):
            if "salience" in member:
                member["weights"] = member["weights"] * member.pop("salience")[:, :, None]
            chosen = member["assignments"]
            shifted = chosen + index * member["slots"].shape[1]
            member["assignments"] = np.where(chosen < 0, chosen, shifted)
        joined = {
            name: np.concatenate([member[name] for member in outputs], axis=axis)
            for name, axis in (("slots", 1), ("mass", 1), ("assignments", 2), ("weights", 2))
        }
        for name in self.heads:
            joined[name] = np.mean([member[name] for member in outputs], axis=0)
        return joined

    def _of_members(self, assignments: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Split assignments [B, N, M·T] into those of the members, each among its own slots."""
        num_slots = self.models[0].model.config.num_slots
        parts = np.split(assignments, len(self.models), axis=2)
        return [
            np.where(part < 0, part, part - index * num_slots) for index, part in enumerate(parts)
        ]


class _Comparison:
    """Deviations of the tensors of one case."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.deviations: dict[str, float] = {}
        self.worst = 0.0
        """Largest deviation so far, as a share of the deviation allowed."""

    def compare(
        self, name: str, found: Arrays, expected: Arrays, tolerance: float, scale: float = 1.0
    ) -> None:
        """Record the largest absolute deviation of a tensor.

        Args:
            name: Name of the tensor.
            found: The exported model's outputs.
            expected: Torch's outputs.
            tolerance: Allowed deviation, relative to the tensor's largest entry or, if that is
                smaller, to 1 or ``scale``.
            scale: See ``tolerance``.

        Raises:
            ParityError: The deviation is too large or NaN.
        """
        deviation = float(np.abs(found[name] - expected[name]).max(initial=0.0))
        largest = float(np.abs(expected[name]).max(initial=0.0))
        allowed = tolerance * max(1.0, scale, largest)
        if not deviation <= allowed:  # also true of NaN
            raise ParityError(
                f"{self.where}: {name} deviate from torch by {deviation:.3g}, {allowed:.3g} is "
                "allowed",
                hint="the export was discarded; please report this with the checkpoint's shape",
            )
        self.deviations[name] = deviation
        self.worst = max(self.worst, deviation / allowed)


def _require_shapes(found: Arrays, expected: Arrays, where: str) -> None:
    for name, value in expected.items():
        if name not in found:
            raise ParityError(f"{where}: there are no {name}")
        if found[name].shape != value.shape:
            raise ParityError(
                f"{where}: {name} have shape {found[name].shape}, torch gives {value.shape}"
            )
