"""Models of transformers whose configuration names kernels: they would be downloaded and run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcssa.errors import CheckpointError
from tcssa.files.text import read_json


def require_no_kernels(config: Path, hint: str) -> None:
    """Refuse a model whose configuration names a repository of kernels.

    transformers would fetch them and run their code, though no remote code is trusted.

    Args:
        config: The model's ``config.json``.
        hint: The next step for the user.

    Raises:
        CheckpointError: The configuration names such a repository, or cannot be read.
    """
    for name in _kernels(read_json(config, CheckpointError, top=dict)):
        reason = f"names the kernels {name[:60]!r}, which would be downloaded and run"
        raise CheckpointError(config, reason, hint=hint)


def _kernels(content: Any) -> Iterator[str]:  # whatever JSON holds
    """Find the values of entries such as ``attn_implementation`` that name a repository."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if name.endswith("_implementation") and "/" in str(value):
            yield str(value)
        yield from _kernels(value)
