"""Evidence: how much each patch of a slide speaks for each output of a classifier."""

from tcssa.mil.evidence.evidence import Evidence, divides, evidence_of
from tcssa.mil.evidence.reference import Reference

__all__ = ["Evidence", "Reference", "divides", "evidence_of"]
