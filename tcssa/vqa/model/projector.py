"""Projector from slots to tokens of a language model.

TC-SSA's projector: Linear(D, 2048), GELU, Linear(2048, H). The layers bear the names of the
reference implementation, so that its ``projector.pt`` loads as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.compressor.checkpoint import load_strictly, read_tensors, write_tensors
from tcssa.compressor.reference import read_state, tensor_shape
from tcssa.errors import CheckpointError
from tcssa.files.boundary import reading
from tcssa.files.text import validated


class ProjectorConfig(BaseModel):
    """The shape of a projector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_dim: int = Field(ge=1, description="Length D of a visual token.")
    hidden_dim: int = Field(default=2048, ge=1, description="Width between the two layers.")
    token_dim: int = Field(ge=1, description="Length H of the language model's embeddings.")


class Projector(nn.Module):
    """Projects visual tokens [..., D] to the language model's width, [..., H].

    Args:
        config: Its shape.
    """

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Sequential(
            nn.Linear(config.feature_dim, config.hidden_dim),
            nn.GELU(),
            nn.Linear(config.hidden_dim, config.token_dim),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Project visual tokens [..., D] to [..., H]."""
        projected: Tensor = self.proj(tokens)
        return projected

    def save(self, path: Path, facts: dict[str, Any] | None = None) -> None:
        """Write the projector as one safetensors file, atomically.

        Args:
            path: The file.
            facts: More to note beside its shape.
        """
        noted = {**(facts or {}), "projector": self.config.model_dump()}
        write_tensors(path, self.state_dict(), noted)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, or the reference's ``projector.pt``; in evaluation mode.

        Raises:
            CheckpointError: The file is missing or broken, or holds no projector.
        """
        if path.suffix == ".safetensors":
            state, facts = read_tensors(path)
            if "projector" not in facts:
                raise CheckpointError(path, "holds no projector")
            shape = facts["projector"]
        else:
            state, _ = read_state(path)
            if not {"proj.0.weight", "proj.2.weight"} <= state.keys():
                raise CheckpointError(path, "holds no projector (proj.0, proj.2)")
            with reading(path, CheckpointError):
                hidden_dim, feature_dim = tensor_shape(state, "proj.0.weight", 2)
                token_dim, _ = tensor_shape(state, "proj.2.weight", 2)
            shape = {"feature_dim": feature_dim, "hidden_dim": hidden_dim, "token_dim": token_dim}
        config = validated(shape, path, CheckpointError, ProjectorConfig)
        return load_strictly(lambda: cls(config), state, path).eval()
