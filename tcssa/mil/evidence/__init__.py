"""Evidence: how much each patch of a slide speaks for each output of a classifier."""

from tcssa.mil.evidence.evidence import Evidence, evidence_of

__all__ = ["Evidence", "evidence_of"]
