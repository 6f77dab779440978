"""The options of `tcssa export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["onnx", "trt", "trt-rtx"]
"""Formats to export to."""


Precision = Literal["fp32", "fp16", "bf16"]
"""Number types in which pooling, experts and head compute."""


Graph = Literal["full", "chunked"]
"""Kinds of graph: one for whole bags, or a pair for bags in chunks."""


What = Literal["compressor", "classifier", "projector", "encoder"]
"""Choices of what to export, by the part that the graph ends with."""


FormatOption = Annotated[
    Format,
    typer.Option(help="onnx; trt takes the TensorRT that is installed; trt-rtx the RTX one."),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Of pooling, experts and head; the gate is float32 always.")
]
GraphOption = Annotated[
    Graph,
    typer.Option(help="full: one graph for whole slides; chunked: a pair, slides of any size."),
]
WhatOption = Annotated[
    What, typer.Option(help="End with slots, logits, or tokens; or the patch encoder.")
]
EncoderName = Annotated[
    str | None, typer.Option(help="The patch encoder of --what encoder, by name.")
]
EncoderWeights = Annotated[Path | None, typer.Option(help="The encoder's own weights.")]
ProjectorFile = Annotated[
    Path | None,
    typer.Option(help="Projector's file, where the model is no train-vqa run."),
]
ClassNames = Annotated[
    list[str] | None,
    typer.Option("--class", help="Class name of a reference checkpoint; once for each."),
]
ChunkPatches = Annotated[
    int | None, typer.Option(help="Patches of a chunk.", show_default="2048, engines 8192")
]
MinPatches = Annotated[
    int | None, typer.Option(help="Fewest patches a full engine takes.", show_default="1")
]
OptPatches = Annotated[
    int | None, typer.Option(help="Patches a full engine is tuned for.", show_default="8192")
]
MaxPatches = Annotated[
    int | None, typer.Option(help="Most patches a full engine takes.", show_default="131072")
]
MaxBatch = Annotated[
    int | None,
    typer.Option(
        help="Most slides, or chunks, an engine takes at once.",
        show_default="8; 1 in half precision; 16 chunks",
    ),
]
Targets = Annotated[
    str | None,
    typer.Option(help="GPUs an engine is built for, as sm89,sm120.", show_default="this machine's"),
]
Workspace = Annotated[int, typer.Option(help="Scratch memory of an engine, in MB.")]
TritonRepository = Annotated[
    Path | None,
    typer.Option(help="Also write the model into this Triton Inference Server repository."),
]
