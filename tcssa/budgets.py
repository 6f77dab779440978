"""Fewer slots out of the same sums: nested budgets.

A slide's sums over K slots give those over K' = K/2, K/4 … by addition: slot j folds into slot
j mod K'. Patches are routed once, one model and one engine serve every budget, and what is kept of
a slide at K serves all smaller ones. A model must be trained for it (``--nested``), so that its
first experts refine folded slots too, and its slots are in such an order that those which fold into
one another are alike (`tcssa.compressor.prototypes`).

Shapes: K slots, K' of a budget, D features. Arrays are NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tcssa.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Budget = int | Literal["auto"]
"""Number of slots of a slide; or ``auto``, what `choose_budget` finds for each slide."""
SMALLEST = 4
"""Slots of the smallest budget."""


def budgets_of(num_slots: int) -> list[int]:
    """List the budgets of a model, the smallest first: K and its halves down to `SMALLEST`.

    Args:
        num_slots: K, at least 1.

    Returns:
        At least one number; K is the last.
    """
    budgets = [num_slots]
    while budgets[-1] % 2 == 0 and budgets[-1] // 2 >= SMALLEST:
        budgets.append(budgets[-1] // 2)
    return budgets[::-1]


def parse_budget(text: str | None) -> Budget | None:
    """Read a budget as given on a command line; None, where none is given, stays None.

    Raises:
        UsageError: The text is neither a number nor ``auto``.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"a budget is a number of slots or auto, got {text!r:.40}")
    return int(text)


def fold(values: NDArray[Any], budget: int) -> NDArray[Any]:
    """Add up what slots hold that fold into one another.

    Args:
        values: Sums of each slot, [K, ...]; not means.
        budget: K', which divides K.

    Returns:
        Sums of each folded slot, [K', ...].
    """
    folded: NDArray[Any] = values.reshape(-1, budget, *values.shape[1:]).sum(axis=0)
    return folded


def variance_between(weighted_sum: NDArray[Any], mass: NDArray[Any]) -> float:
    """Compute how far slots lie from each other: Σ_k m_k |c_k - c|², c the mean of all patches.

    Args:
        weighted_sum: Σ P̃ a x of each slot, [K, D].
        mass: Σ P̃ a of each slot, [K].
    """
    sums, masses = weighted_sum.astype("float64"), mass.astype("float64")
    used = masses > 0
    if not used.any():
        return 0.0
    of_slots = ((sums[used] ** 2).sum(axis=1) / masses[used]).sum()
    of_all = (sums[used].sum(axis=0) ** 2).sum() / masses[used].sum()
    return float(max(0.0, of_slots - of_all))


def choose_budget(weighted_sum: NDArray[Any], mass: NDArray[Any], share: float) -> int:
    """Find the smallest budget that keeps a share of a slide's variance between its slots.

    Args:
        weighted_sum: Σ P̃ a x of each slot, [K, D].
        mass: Σ P̃ a of each slot, [K].
        share: Share of the variance to keep, 0 to 1.

    Returns:
        K', one of `budgets_of`; the smallest where the slots do not differ.
    """
    budgets = budgets_of(len(mass))
    wanted = share * variance_between(weighted_sum, mass)
    for budget in budgets[:-1]:
        if variance_between(fold(weighted_sum, budget), fold(mass, budget)) >= wanted:
            return budget
    return budgets[-1]
