"""What the slots of a trained run hold: use, places, examples, and what the prediction owes them.

Everything is of the *test* slides of a fold, seen with that fold's own model. Slot 3 of one fold
and slot 3 of another are two slots: no figure here is a mean over folds.
"""

from tcssa.mil.slots.inspect import inspect_slots
from tcssa.mil.slots.inspection import SlotInspection

__all__ = ["SlotInspection", "inspect_slots"]
