"""What figures are called, how they are shown, and what was published."""
