"""Readers of feature files, one for each tool's layout."""
