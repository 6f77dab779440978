"""Cross-validated training of slide classifiers."""
