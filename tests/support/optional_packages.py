"""Tests of what does not run everywhere: skipped by name."""

import pytest
import torch

from tcssa.errors import TcssaError
from tcssa.optional import require


def _installed(package: str) -> bool:
    try:
        require(package, "encoders")
    except TcssaError:
        return False
    return True


needs_timm = pytest.mark.skipif(not _installed("timm"), reason="timm does not run here")
needs_open_clip = pytest.mark.skipif(
    not _installed("open_clip"), reason="open_clip does not run here"
)
needs_bitsandbytes = pytest.mark.skipif(
    not _installed("bitsandbytes"), reason="bitsandbytes does not run here"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
