"""What the folder of a run holds, written and read back."""
