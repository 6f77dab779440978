"""Thresholds and temperatures of a model's probabilities, learnt on validation slides."""
