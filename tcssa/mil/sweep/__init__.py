"""One training for every combination of settings."""
