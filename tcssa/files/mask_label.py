"""Labels of a mask as a user writes them; apart from the reading, which loads NumPy."""

import re

LABEL = re.compile(r"-?\d+(\.\d+)?(,-?\d+(\.\d+)?)*")
"""A label in words of the user: a number, or one for each channel."""
