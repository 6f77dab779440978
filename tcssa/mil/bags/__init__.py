"""Bags: the features of a cohort's slides, read for training."""
