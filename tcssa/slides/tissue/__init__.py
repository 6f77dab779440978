"""Tissue of a slide: finding it, outlining it, and reading it from a user's mask."""
