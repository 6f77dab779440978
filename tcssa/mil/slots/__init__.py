"""Inspection of the slots of a trained run: use, places, examples and effect on the prediction.

All figures are of the *test* slides of a fold, seen with that fold's own model. Slot 3 of one fold
and slot 3 of another are unrelated, so no figure of a slot is a mean over folds.
"""

from tcssa.mil.slots.inspect import inspect_slots
from tcssa.mil.slots.inspection import SlotInspection

__all__ = ["SlotInspection", "inspect_slots"]
