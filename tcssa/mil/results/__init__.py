"""Files of a run's folder, written and read back."""
