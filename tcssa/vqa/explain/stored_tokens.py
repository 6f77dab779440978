"""Tokens of a slide that an exported projector made, in place of its features.

``tcssa encode`` with such an artefact keeps them in the slide's file of slots, as ``tokens``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tcssa.errors import FeatureFileError
from tcssa.files.boundary import UnsoundError
from tcssa.files.hdf5 import attributes, find_object, hdf5_file, numbers
from tcssa.reporter import Reporter
from tcssa.vqa.model.projector import Projector
from tcssa.vqa.model.run import LoadedVqa
from tcssa.vqa.model.run_file import PROJECTOR_FILE

_ENCODE = "tcssa export RUN --what projector --format onnx --out DIR, then tcssa encode --model DIR"


class PassingOn(nn.Module):
    """Stands in for a projector where tokens [V, H] come projected, and passes them on.

    A token of zeros says that a visual token is blank, and becomes what the projector makes of one.

    Args:
        projector: The projector that made them.
    """

    def __init__(self, projector: Projector) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens [V, H], each of zeros replaced."""
        blank = self.projector(tokens.new_zeros(self.projector.config.feature_dim))
        return torch.where(tokens.any(-1, keepdim=True), tokens, blank)


def take_tokens(loaded: LoadedVqa, path: Path, reporter: Reporter) -> Tensor:
    """Read a slide's tokens, and have the model take them as they are from then on.

    Args:
        loaded: The model, whose projector is replaced.
        path: The slide's file of slots.
        reporter: Warns of tokens that do not say whose projector made them.

    Returns:
        The tokens [V, H], float32.

    Raises:
        FeatureFileError: The file is broken, holds no tokens, or those of another projector.
    """
    projector = loaded.model.projector
    width = projector.config.token_dim
    with hdf5_file(path, FeatureFileError) as file:
        if find_object(file, "tokens") is None:
            raise FeatureFileError(path, "holds no tokens of a projector", hint=_ENCODE)
        dataset = numbers(file, "tokens", ndim=2)
        made_by = attributes(dataset).get("projector_sha256")
        if dataset.shape[1] != width:
            raise UnsoundError(f"has tokens of {dataset.shape[1]} numbers, the model takes {width}")
        tokens = torch.from_numpy(dataset[:]).float()
        if not len(tokens) or not tokens.isfinite().all():
            raise UnsoundError("has tokens that are none or no finite numbers")
    own = loaded.settings.files[PROJECTOR_FILE]
    if made_by is None:
        reporter.warn(f"{path} does not say which projector made its tokens")
    elif made_by != own:
        raise FeatureFileError(
            path,
            f"has tokens of another projector (SHA-256 {str(made_by)[:12]}…, this run's is "
            f"{own[:12]}…)",
            hint=_ENCODE,
        )
    loaded.model.projector = PassingOn(projector).to(loaded.device)  # type: ignore[assignment]
    return tokens.to(loaded.device)
