"""Predictions of slides that nobody has labelled, by a finished run or an exported classifier."""
