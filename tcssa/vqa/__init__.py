"""Slide question answering: slots, projected, are tokens of a language model's prompt."""
