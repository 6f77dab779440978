"""How metrics are called where people read them."""

from __future__ import annotations


def written(metric: str) -> str:
    """A metric's name in a text: AUC for ``auc``, macro F1 for ``macro_f1``."""
    if metric in ("auc", "auprc"):
        return metric.upper()
    return metric.replace("_", " ").replace("f1", "F1")
