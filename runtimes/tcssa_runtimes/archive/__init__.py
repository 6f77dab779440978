"""Encoding an archive: features of many slides in, a file of slots for each slide out."""
