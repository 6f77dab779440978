"""Slide classification from slots: data, splits, training and evaluation."""
