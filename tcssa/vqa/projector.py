"""From slots to tokens of a language model.

TC-SSA's projector: Linear(D, 2048), GELU, Linear(2048, H). The layers bear the names of the
reference implementation, so that its ``projector.pt`` loads as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from tcssa.compressor.checkpoint import load_strictly, read_tensors, write_tensors
from tcssa.compressor.reference import read_state
from tcssa.errors import CheckpointError


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
            try:
                config = ProjectorConfig.model_validate(facts["projector"])
            except (KeyError, ValidationError):
                raise CheckpointError(path, "holds no projector") from None
        else:
            state, _ = read_state(path)
            try:
                hidden, feature = state["proj.0.weight"].shape
                config = ProjectorConfig(
                    feature_dim=feature,
                    hidden_dim=hidden,
                    token_dim=state["proj.2.weight"].shape[0],
                )
            except (KeyError, ValueError):
                raise CheckpointError(path, "holds no projector (proj.0, proj.2)") from None
        model = cls(config)
        load_strictly(model, state, path)
        return model.eval()
