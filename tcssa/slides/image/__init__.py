"""A slide's pixels: levels, regions, thumbnails, slides behind addresses."""
