"""Prediction of slides by exported classifiers."""
