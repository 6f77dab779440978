"""Named sets of defaults for training TC-SSA; any setting given beside them wins."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

RecipeName = Literal["salient", "paper", "raw"]

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    # the defaults of the settings themselves
    "salient": {},
    # arXiv 2603.01143 and its code: no embedding, no salience, the mean of all slots, experts as
    # large as the features, a gate of random weights, the weights of one epoch
    "paper": {
        "model": {
            "salience": False,
            "prototypes": False,
            "pool": "mean",
            "hidden_dim": 512,
            "expert_gain": 1.0,
        },
        "train": {"average": 1},
    },
    # features that no encoder made: measurements of any scale and meaning; 128 numbers a slot leave
    # room for wider experts than the default's
    "raw": {"model": {"embed_dim": 128, "hidden_dim": 24}, "train": {"salience_pace": 16.0}},
}


def recipe_settings(name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a recipe, nested as `MilSettings`; none for an unknown name."""
    return deepcopy(RECIPES.get(name, {}))
