"""Sweeps: one training for every combination of settings."""
