"""Prediction and scoring with the models of a finished run."""
