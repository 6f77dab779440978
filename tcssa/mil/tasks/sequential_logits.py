"""Steps that a slide goes through one after another, until it stops: grades, and spans of time.

Output j is the logit of going on past step j, given that step j was reached. Both kinds of ordered
label use this chain, and their losses are its negative log-likelihood.

Shapes: O outputs, the number of steps that can be passed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def log_reached(go_on: Tensor) -> Tensor:
    """Compute the log-probability of reaching each step, [..., O] to [..., O + 1].

    The first step is always reached.
    """
    passed = F.logsigmoid(go_on).cumsum(dim=-1)
    return torch.cat([torch.zeros_like(passed[..., :1]), passed], dim=-1)


def log_stopped(go_on: Tensor) -> Tensor:
    """Compute the log-probability of stopping at each step, [..., O] to [..., O + 1].

    A slide that reaches the last step stops there.
    """
    stops = F.logsigmoid(-go_on)
    stops = torch.cat([stops, torch.zeros_like(stops[..., :1])], dim=-1)
    return log_reached(go_on) + stops
