"""Features in the ``.npy`` files of SlideChat's data sets.

The file is a 0-d object array, which is a pickle of a dict with the key ``feature``. It is read by
`tcssa.files.pickled`, which runs no code. Its ``.csv`` files: `tcssa.features.readers.patch_table`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcssa.errors import FeatureFileError

FEATURE_KEYS = ("feature", "features", "feat")


def pickled_features(content: Any, path: Path) -> NDArray[Any]:
    """Find the features [N, D] in the content of a pickled ``.npy`` file.

    Args:
        content: The list of the array's objects.
        path: The file, for errors.

    Raises:
        FeatureFileError: The content is no array and has none under `FEATURE_KEYS`.
    """
    while isinstance(content, list) and len(content) == 1:
        content = content[0]
    if isinstance(content, dict):
        content = next((content[key] for key in FEATURE_KEYS if key in content), None)
    if hasattr(content, "detach"):
        content = content.float().numpy()
    if not isinstance(content, np.ndarray):
        raise FeatureFileError(path, f"holds none of {', '.join(FEATURE_KEYS)}")
    return content
