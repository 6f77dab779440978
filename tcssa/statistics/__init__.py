"""Ranking, intervals and metrics."""
