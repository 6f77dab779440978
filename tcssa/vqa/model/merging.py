"""Several slides as one: sums over patches add up, so they become the slots of all patches.

See `tcssa.compressor.aggregation.joined`, and `SlotVisual.sum_up` and `refined`.
"""

from __future__ import annotations

from tcssa.errors import UsageError
from tcssa.vqa.model.visual_encoder import VisualEncoder
from tcssa.vqa.model.visual_encoders import SlotVisual


def require_merging(visual: VisualEncoder) -> SlotVisual:
    """Require a visual encoder whose tokens of several slides add up.

    Args:
        visual: The visual encoder.

    Raises:
        UsageError: Its tokens are no slots, or depend on where patches lie.
    """
    hint = "--several concat puts the tokens of one slide behind those of the other"
    if not isinstance(visual, SlotVisual):
        raise UsageError(
            f"--several merge adds up slots, and the run was trained with --visual {visual.kind}",
            hint=hint,
        )
    if visual.reads_coords:
        raise UsageError(
            "the run's compressor reads where patches lie, and places of different slides do not "
            "add up",
            hint=hint,
        )
    return visual
