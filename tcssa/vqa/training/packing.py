"""Packing: rows behind each other in one long row, without padding.

Places begin anew with every row, and attention does not look over a row's border, which is the
part of the language model. So before a training it is asked whether its rows stay apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tcssa.errors import UsageError, one_line
from tcssa.vqa.model.model import Batch, SlideLanguageModel
from tcssa.vqa.training.rows import Row

_PROBED = (12, 20)
"""Lengths of the two rows that are tried."""
_SEEN = 1e-3
"""Largest change of a row's output, as a share, that another row before it may make: none."""
_MOVED = 0.05
"""Largest change that its place may make, which is rounding in bfloat16."""


def packs(rows: Sequence[Row], most_tokens: int) -> list[Sequence[Row]]:
    """Cut rows into parts of so many tokens at most, in their order.

    Args:
        rows: The rows, none of them longer.
        most_tokens: Tokens of a part.
    """
    parts: list[list[Row]] = []
    room = 0
    for row in rows:
        if row.length > room:
            parts.append([])
            room = most_tokens
        parts[-1].append(row)
        room -= row.length
    return list(parts)


def collate_packed(
    rows: Sequence[Row], visual: Callable[[Row], Tensor], *, encoded: bool = False
) -> Batch:
    """Combine rows into one long row.

    Args:
        rows: At least one.
        visual: Gives the visual tokens [V, D], or patch features [N, D], of a row's slides.
        encoded: True if ``visual`` gives tokens.
    """
    input_ids = torch.cat([row.input_ids for row in rows]).long()[None]
    return Batch(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        labels=torch.cat([row.labels for row in rows]).long()[None],
        visual=[visual(row) for row in rows],
        slide_ids=[row.slide_id for row in rows],
        slides=None if encoded else [list(row.spans) for row in rows],
        positions=torch.cat([torch.arange(row.length) for row in rows])[None],
        encoded=encoded,
    )


@torch.no_grad()
def require_packable(model: SlideLanguageModel) -> None:
    """Require that a language model keeps rows apart that lie behind each other.

    Args:
        model: The model, on its device; a short row goes through it alone, and behind others.

    Raises:
        UsageError: It mixes them, as with convolutions or a state, or takes no places.
    """
    model.eval()
    embedding: Tensor = model.llm.get_input_embeddings().weight
    length = _PROBED[0]
    first, other = embedding[1 : 1 + length][None], embedding[1 + length : 1 + 2 * length][None]
    row = embedding[1 : 1 + _PROBED[1]][None]
    hint = "leave --pack out, or try another --attention"
    try:
        alone, behind_one, behind_other = (
            _logits_of_last(model.llm, rows) for rows in ([row], [first, row], [other, row])
        )
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"--pack does not work with this language model ({one_line(error)})", hint=hint
        ) from None
    seen, moved = _change(behind_one, behind_other), _change(behind_one, alone)
    if not (seen < _SEEN and moved < _MOVED):
        raise UsageError(
            "--pack needs a language model that keeps rows apart that lie behind each other; with "
            f"this one a row's output changes by {max(seen, moved):.1%}",
            hint=hint,
        )


def _change(logits: Tensor, other: Tensor) -> float:
    """Return the largest change of a token's logits, as a share of their size."""
    return float(((logits - other).norm(dim=-1) / logits.norm(dim=-1)).max())


def _logits_of_last(llm: Any, rows: Sequence[Tensor]) -> Tensor:
    """Return the logits of the last of several packed rows [1, L, vocabulary]."""
    places = [torch.arange(row.shape[1], device=row.device) for row in rows]
    output = llm(
        inputs_embeds=torch.cat(list(rows), dim=1),
        attention_mask=None,
        position_ids=torch.cat(places)[None],
        use_cache=False,
        logits_to_keep=rows[-1].shape[1],
    )
    logits: Tensor = output.logits
    return logits.float()
