"""Asking a trained model questions, and reading its answers."""
