"""Training of slide classifiers, cross-validated."""
