"""Slide classifiers: TC-SSA's own, and all other methods by name."""
