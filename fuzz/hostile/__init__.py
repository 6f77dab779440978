"""Files that mean harm or were damaged in a known way, and what a reader makes of each.

They are made here, so that the corpus in ``tests/corpus`` can be made again: see `fuzz.corpus`.
"""
