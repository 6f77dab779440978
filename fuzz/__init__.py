"""Damaged files against every reader: `nox -s fuzz`.

A `Target` is a reader with small valid files to damage, a way to damage them, and an oracle that
reads the same bytes in another way. Inputs are made from a seed and a number alone, so a run can be
repeated; each target runs in a child process with a limit on memory and on time (`worker`), which
is started again behind an input that ends it (`supervisor`). Text is also damaged by atheris, which
follows the code that is reached (`coverage`).
"""
