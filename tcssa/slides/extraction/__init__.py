"""Extraction of patch features from slides: plan, read, encode, write."""
