"""Cohorts: slides with labels, and their division into training, validation and test parts."""
