"""Which slides take part, with which labels, and who trains, validates and tests."""
