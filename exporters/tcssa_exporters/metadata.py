"""The metadata of an ONNX file, in case it is separated from its artefact.

They hold the same facts as ``artefact.json``, except those known only once the file is written:
its hash, the comparison with torch, the report of an engine's builder.
"""

from __future__ import annotations

import json

from tcssa.version import __version__
from tcssa_exporters.options import ExportOptions
from tcssa_exporters.parts import Part
from tcssa_exporters.source import ExportSource

_PADDING = "rows of features and coords beyond lengths do not matter, but must be finite"
_MERGE = (
    "sum mean * mass and mass over the chunks of a slide, divide the sums (0 where the mass is 0), "
    "and give the means of slides to the graph 'finish'"
)
_COORDS = "coords are (x, y) in um, about a point near the middle of the slide"
_MOMENTS = "moments of each slot's coordinates, as tcssa.moments.SlotMoments.vectors computes them"


def onnx_metadata(part: Part, source: ExportSource, options: ExportOptions) -> dict[str, str]:
    """Collect the facts for a file's ``metadata_props``.

    Args:
        part: The graph in the file.
        source: The model.
        options: The options of the export.

    Returns:
        Facts as text, by names that begin with ``tcssa.``; absent facts are left out.
    """
    config = source.config
    embeds = config.embedded_from is not None
    stages = options.precision.stages(head=bool(source.heads), embedding=embeds)
    facts: dict[str, str | int | None] = {
        "version": __version__,
        "what": source.what,
        "graph": options.graph,
        "part": part.name,
        "feature_dim": config.patch_dim,
        "slot_dim": config.feature_dim if embeds else None,
        "num_slots": config.num_slots,
        "top_k": config.top_k,
        "members": len(source.members) if source.others else None,
        **{f"precision.{stage}": dtype for stage, dtype in stages.items()},
        "patches.min": options.patches.min,
        "patches.opt": options.patches.opt,
        "patches.max": options.patches.max,
        "chunk_patches": options.chunk_patches,
        "max_batch": options.max_batch,
        "encoder": source.encoder or "unknown",
        "classes": None if source.classes is None else json.dumps(source.classes),
        "token_dim": source.token_dim,
        "checkpoint_sha256": source.checkpoint_sha256,
        "head_sha256": source.head_sha256,
        "padding": _PADDING if part.name != "finish" else None,
        "merge": _MERGE if options.graph == "chunked" else None,
        "coords": _COORDS if config.spatial and part.name == "full" else None,
        "moments": _MOMENTS if config.spatial and part.name == "finish" else None,
    }
    return {f"tcssa.{name}": str(value) for name, value in facts.items() if value is not None}
