"""Readers of the field's question sets and conversations."""
