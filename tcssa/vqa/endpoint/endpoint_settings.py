"""Settings of a server of a language model. Imports nothing heavy: commands read its help here."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tcssa.config.settings import Section


class EndpointOptions(Section):
    """Options for a language model that a server holds."""

    endpoint: str | None = Field(
        default=None,
        description="Address of a vLLM server of the folder that tcssa merge wrote, which is then "
        "the run, such as http://localhost:8000. No language model is loaded here.",
    )
    endpoint_model: str | None = Field(
        default=None,
        description="Name under which the server has it. [default: the only one it has]",
    )
    endpoint_timeout: float = Field(
        default=120.0, gt=0, description="Longest wait for an answer of the server, in seconds."
    )

    @model_validator(mode="after")
    def _require_endpoint(self) -> Self:
        """Refuse a model of no server."""
        if self.endpoint_model is not None and self.endpoint is None:
            raise ValueError("--endpoint-model is for --endpoint, which is not given")
        return self
