"""The demonstration: the whole chain on slides drawn on the spot."""
