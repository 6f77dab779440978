"""Slide classifiers: TC-SSA's own, and any method by its name."""
