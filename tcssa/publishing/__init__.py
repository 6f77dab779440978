"""Trained models made ready for others: the files to share, their card, and the push."""
