"""Evidence: how much each patch of a slide speaks for each output of a classifier."""

from tcssa.mil.evidence.evidence import Evidence, evidence_of, passes
from tcssa.mil.evidence.reference import Reference

__all__ = ["Evidence", "Reference", "evidence_of", "passes"]
