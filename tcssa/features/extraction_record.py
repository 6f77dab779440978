"""The making of patches, as feature files state it, so that new slides can be made alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ExtractionRecord(BaseModel):
    """Facts about the extraction of features; None where files do not state one, or not the same.

    Names are those of the settings of ``tcssa extract``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    mpp: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    patch_size: int | None = Field(default=None, ge=1, le=2**31 - 1)
    overlap: int | None = Field(default=None, ge=0)
    resample: Literal["area", "lanczos"] | None = None
    tissue: str | None = None
    keep_pen: bool | None = None
    min_tissue: float | None = Field(default=None, ge=0, le=1)
    dtype: Literal["float32", "float16"] | None = None
    encoder_weights: str | None = None
    """Hash of the encoder's weights."""

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self:
        """Read the attributes of a feature file, ours or of TRIDENT's layout.

        Attributes that make no sense count as not stated: the features can be used without them.
        """
        power = attributes.get("target_magnification")
        said: dict[str, Any] = {name: attributes.get(name) for name in ("patch_size", "overlap")}
        if "mpp_target" in attributes:
            said["mpp"] = attributes["mpp_target"]
        elif isinstance(power, int | float) and power > 0:
            said["mpp"] = 10 / power
        try:
            params = json.loads(attributes.get("params", "{}"))
            return cls.model_validate({**said, **params})
        except (ValueError, TypeError, ValidationError, OverflowError, RecursionError):
            return cls()

    @classmethod
    def agreed(cls, records: Sequence[ExtractionRecord]) -> Self:
        """Return the facts that all of several files state alike."""
        facts = [record.model_dump() for record in records]
        first = facts[0] if facts else {}
        alike = {name: v for name, v in first.items() if all(each[name] == v for each in facts)}
        return cls.model_validate(alike)

    @property
    def patch_um(self) -> float | None:
        """Width of a patch in µm, None where it is not known."""
        if self.mpp is None or self.patch_size is None:
            return None
        return self.mpp * self.patch_size

    def stated(self) -> dict[str, Any]:
        """Return the facts that are known."""
        return self.model_dump(exclude_none=True)
