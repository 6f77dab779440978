"""Review of a test: the slides that were classified wrongly, with what speaks for the error."""
