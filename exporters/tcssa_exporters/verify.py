"""Comparison of exported models with torch.

A single failed comparison fails the export. Values alone would not be enough: routing is a choice,
and a wrong second slot of a few patches is lost in the average of thousands. So assignments are
compared too, and may differ only where torch's own choice is almost a tie. Values are then compared
with torch's results for the same routing.

Torch computes in float32 whatever the exported model's precision, on the features as that model
gets them: rounded to float16 if it takes float16.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tcssa.artefact import ParityRow
from tcssa.errors import ParityError
from tcssa.moments import SlotMoments
from tcssa_exporters.parity_cases import Case, cases
from tcssa_exporters.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tcssa import SlotCompressor
    from tcssa_exporters.source import ExportSource

UNDECIDED_MARGIN = 1e-4
"""Two logits closer than this, relative to the patch's largest (at least 1), are a tie."""

_ROUTING_TOLERANCE = PRECISIONS["fp32"].tolerance
"""Tolerance of masses and routing weights, which are float32 in every precision. As exponentials
they are only as exact as their logits, so it is relative to the largest logit."""

_SALIENCE_LOGIT = 20.0
"""Scale of salience, whose exponent is a logit of at most that size."""

Arrays = Mapping[str, NDArray[Any]]
"""Outputs by name: slots [B, K, D], mass [B, K], assignments and weights [B, N, T], salience [B, N]
if the model has one, and the outputs of the heads."""

Run = Callable[[NDArray[Any], NDArray[np.int64], NDArray[np.float64] | None], Arrays]
"""Function that runs an exported model on features [B, N, D], lengths [B] and, if the model has
places, coords [B, N, 2] in µm."""


class Verifier:
    """Holds the torch model, and compares exported models with it.

    Args:
        source: The model; it is copied to the CPU in float32 and not changed.
        precision: Precision of the exported model.
    """

    def __init__(self, source: ExportSource, precision: Precision) -> None:
        self.precision = precision
        self.model: SlotCompressor = copy.deepcopy(source.compressor).float().cpu().eval()
        self.heads: dict[str, nn.Module] = {
            name: copy.deepcopy(head).float().cpu().eval() for name, head in source.heads.items()
        }

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
            for case in cases(self.model, large_bag=large_bag)
            if (max_patches is None or case.features.shape[1] <= max_patches)
            and (max_batch is None or len(case.lengths) <= max_batch)
        ]

    def _compare(self, run: Run, case: Case, runner: str) -> ParityRow:
        features = case.features.astype(self.precision.input)
        batch, num_patches, _ = features.shape
        where = f"case {case.name!r} (B = {batch}, N = {num_patches}, {runner})"
        coords = case.coords if self.model.config.spatial else None
        found = run(features, case.lengths, coords)
        expected = self._expected(features, case.lengths, coords)
        seen = self._seen(features)
        logits = self._logits(seen)
        _require_shapes(found, expected, where)
        alike = (found["assignments"] == expected["assignments"]).all(axis=2)
        if not np.array_equal(found["assignments"] < 0, expected["assignments"] < 0):
            raise ParityError(f"{where}: padding is routed, or patches are not")
        if not alike.all():
            self._require_undecided(found["assignments"][~alike], logits[~alike], where)
            expected = self._expected_of_routing(found["assignments"], seen, logits, coords)
        sharpness = float(np.abs(logits).max())
        check = _Comparison(where)
        check.compare("mass", found, expected, _ROUTING_TOLERANCE, sharpness)
        check.compare("weights", found, expected, _ROUTING_TOLERANCE, sharpness)
        if "salience" in expected:
            check.compare("salience", found, expected, _ROUTING_TOLERANCE, _SALIENCE_LOGIT)
        rounding = self._rounding(features) / max(1.0, float(np.abs(expected["slots"]).max()))
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

    def _expected(
        self,
        features: NDArray[Any],
        lengths: NDArray[np.int64],
        coords: NDArray[np.float64] | None,
    ) -> dict[str, NDArray[Any]]:
        """Compute torch's outputs for a padded batch."""
        import torch

        mask = torch.arange(features.shape[1]) < torch.from_numpy(lengths).unsqueeze(1)
        with torch.no_grad():
            places = None if coords is None else torch.from_numpy(coords)
            output = self.model(torch.from_numpy(features), mask, places)
        return self._outputs(
            output.slots, output.mass, output.assignments, output.weights, output.salience
        )

    def _seen(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return patches [B, N, D] as the gate sees them: embedded, if the model embeds them."""
        import torch

        if self.model.embed is None:
            return features
        with torch.no_grad():
            bags = [self.model.embedded(torch.from_numpy(bag)) for bag in features]
        seen: NDArray[Any] = torch.stack(bags).numpy()
        return seen

    def _logits(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the gate's logits, [B, N, K], of patches as it sees them."""
        import torch

        gate = self.model.router.gate
        with torch.no_grad():
            bags = [gate(torch.from_numpy(bag).float()) for bag in features]
        logits: NDArray[np.float32] = torch.stack(bags).numpy()
        return logits

    def _rounding(self, features: NDArray[Any]) -> float:
        """Bound how far float32 logits alone may move a slot, whoever computes them.

        A slot is a mean of patches weighted by exponentials of their logits: an error δ of a logit
        is a relative error δ of a weight, and of softmax up to 2δ. Two patches with such weights
        differ by twice the largest feature at most, and torch and the exported model both err. This
        counts only where features are so large that logits are in the hundreds. Where the model
        embeds its patches, what it makes of them is rounded too.

        Args:
            features: The batch as the exported model gets it, [B, N, D].
        """
        import torch

        router, embed = self.model.router, self.model.embed
        seen = torch.from_numpy(self._seen(features)).float()
        lines = [(router.gate.weight, router.gate.bias, 2)]
        if router.salience is not None:
            lines.append((router.salience.weight, router.salience.bias, 1))
        error = off = 0.0
        with torch.no_grad():
            exact_seen = seen.double()
            if embed is not None:
                patches = torch.from_numpy(features).double()
                exact_seen = (patches @ embed.weight.double().T + embed.bias.double()).relu()
                off = float((seen - exact_seen).abs().amax())
            for weight, bias, times in lines:
                exact = exact_seen @ weight.double().T + bias.double()
                error += times * float((seen @ weight.T + bias - exact).abs().amax())
        return 4 * error * float(seen.abs().amax()) + 2 * off

    def _outputs(
        self,
        slots: Tensor,
        mass: Tensor,
        assignments: Tensor,
        weights: Tensor,
        salience: Tensor | None,
    ) -> dict[str, NDArray[Any]]:
        """Return torch's outputs as arrays, including those of the heads."""
        import torch

        from tcssa_exporters.graph import takes_mass

        with torch.no_grad():
            made = {
                name: head(slots, mass) if takes_mass(head) else head(slots)
                for name, head in self.heads.items()
            }
        made |= {"slots": slots, "mass": mass, "assignments": assignments, "weights": weights}
        if salience is not None:
            made["salience"] = salience
        return {name: value.numpy() for name, value in made.items()}

    def _expected_of_routing(
        self,
        assignments: NDArray[np.int64],
        features: NDArray[Any],
        logits: NDArray[np.float32],
        coords: NDArray[np.float64] | None,
    ) -> dict[str, NDArray[Any]]:
        """Compute torch's outputs for a given routing, with -1 for padding.

        The features are as the gate sees them.
        """
        import torch

        from tcssa.compressor.state import normalise

        chosen = torch.from_numpy(assignments)
        probs = torch.from_numpy(logits).softmax(dim=2).gather(2, chosen.clamp(min=0))
        weights = torch.where(chosen < 0, 0.0, probs)
        salience, counted = None, weights
        if self.model.router.salience is not None:
            with torch.no_grad():
                salience = self.model.router.salience(torch.from_numpy(features).float())
            salience = torch.where(chosen[:, :, 0] < 0, 0.0, salience)
            counted = weights * salience.unsqueeze(2)
        dense = torch.zeros(logits.shape).scatter_add_(2, chosen.clamp(min=0), counted)
        sums = torch.stack(
            [
                w.double().T @ torch.from_numpy(bag).double()
                for w, bag in zip(dense, features, strict=True)
            ]
        )
        mass = dense.double().sum(dim=1)
        with torch.no_grad():
            centers = normalise(sums, mass).float()
            if self.model.places is not None and coords is not None:
                vectors = slot_vectors(assignments, counted.numpy(), coords, logits.shape[2])
                centers = centers + self.model.places(torch.from_numpy(vectors))
            slots = self.model.experts(centers)
        return self._outputs(slots, mass.float(), chosen, weights, salience)

    def _require_undecided(
        self, chosen: NDArray[np.int64], logits: NDArray[np.float32], where: str
    ) -> None:
        """Raise unless each of these patches chose distinct slots that tie with torch's choice.

        Args:
            chosen: Slots of the patches that differ, [M, T].
            logits: Torch's logits, [M, K].
            where: The case, for errors.

        Raises:
            ParityError: A patch goes to fewer than T slots, or to one whose logit differs from that
                of torch's choice by `UNDECIDED_MARGIN` or more.
        """
        top_k = self.model.config.top_k
        if any(len(set(row)) < top_k for row in chosen.tolist()):
            raise ParityError(f"{where}: patches go to fewer than {top_k} slots each")
        # in the order of the choice, each slot's logit must tie with that of torch's choice
        best = -np.sort(-logits, axis=1)[:, :top_k]
        gap = np.abs(np.take_along_axis(logits, chosen, axis=1) - best).max(axis=1)
        gap /= np.maximum(1, np.abs(best).max(axis=1))
        decided = int((gap >= UNDECIDED_MARGIN).sum())
        if decided:
            raise ParityError(
                f"{where}: {decided} patches go to other slots than in torch, "
                f"with logits up to {float(gap.max()):.3g} apart"
            )


def slot_vectors(
    assignments: NDArray[np.int64],
    weights: NDArray[np.float32],
    coords: NDArray[np.float64],
    num_slots: int,
) -> NDArray[np.float32]:
    """Compute the moments of each bag's slots that a model with places takes.

    Args:
        assignments: Slots of each patch, [B, N, T]; -1 for padding.
        weights: Weight of each patch in each of them, [B, N, T], salience included.
        coords: Positions of patches in µm, [B, N, 2].
        num_slots: Number of slots, K.

    Returns:
        Moments [B, K, M].
    """
    found = []
    for slots, weight, at in zip(assignments, weights, coords, strict=True):
        real = slots[:, 0] >= 0
        moments = SlotMoments.of(slots[real], weight[real], at[real], num_slots, mpp=1.0)
        found.append(moments.vectors())
    return np.stack(found)


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
