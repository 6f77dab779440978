"""Training of slide language models in two stages."""
