"""Pixels of slides: levels, regions, thumbnails, and copies of remote slides."""
