"""Pages and pictures that several commands write."""
