"""The graphs that an artefact consists of: modules with the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from tcssa.artefact import TensorSpec
from tcssa.moments import VECTOR_LENGTH
from tcssa_exporters.options import ExportOptions

if TYPE_CHECKING:
    from torch import nn

    from tcssa_exporters.ensemble import SideBySide
    from tcssa_exporters.graph import FinishGraph, PartialGraph
    from tcssa_exporters.source import ExportSource

Range = tuple[int, int, int]
"""Smallest size, size to tune for, largest size."""


@dataclass(frozen=True)
class NamedTensor:
    """A tensor of a graph; an axis that varies has a name in place of a size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def spec(self) -> TensorSpec:
        """The tensor as ``artefact.json`` describes it."""
        shape = [size if isinstance(size, int) else None for size in self.shape]
        return TensorSpec.model_validate({"name": self.name, "dtype": self.dtype, "shape": shape})

    def sized(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with the given size for every named axis."""
        return tuple(size if isinstance(size, int) else sizes[size] for size in self.shape)

    def num_bytes(self, sizes: Mapping[str, int]) -> int:
        """Return the tensor's size in bytes, given a size for every named axis."""
        import numpy as np

        return prod(self.sized(sizes)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Part:
    """One graph of an artefact."""

    name: str
    """``full``, ``partial`` or ``finish``."""
    module: nn.Module
    inputs: tuple[NamedTensor, ...]
    outputs: tuple[NamedTensor, ...]


def make_parts(source: ExportSource, options: ExportOptions) -> list[Part]:
    """Build the full graph, or the two of a chunked pair; the source is not changed."""
    from tcssa_exporters.graph import FullGraph

    partial, finish = _graphs(source, options)
    config = source.config
    slots, dim, top_k = config.num_slots, config.feature_dim, config.top_k

    def inputs(patches: int | str) -> tuple[NamedTensor, ...]:
        return (
            NamedTensor("features", options.precision.input, ("batch", patches, config.patch_dim)),
            NamedTensor("lengths", "int64", ("batch",)),
        )

    coords = NamedTensor("coords", "float32", ("batch", "patches", 2))
    moments = NamedTensor("moments", "float32", ("slides", slots, VECTOR_LENGTH))

    def routing(patches: int | str) -> tuple[NamedTensor, ...]:
        return (
            NamedTensor("mass", "float32", ("batch", slots)),
            NamedTensor("assignments", "int64", ("batch", patches, top_k)),
            NamedTensor("weights", "float32", ("batch", patches, top_k)),
            *([NamedTensor("salience", "float32", ("batch", patches))] if config.salience else []),
        )

    shapes = _head_shapes(finish, slots, dim)

    def heads(axis: str) -> tuple[NamedTensor, ...]:
        named = zip(source.heads, shapes, strict=True)
        return tuple(NamedTensor(name, "float32", (axis, *shape)) for name, shape in named)

    def centers(name: str, axis: str) -> NamedTensor:
        """See `NamedTensor`."""
        return NamedTensor(name, "float32", (axis, slots, dim))

    if options.chunk_patches is None:
        outputs = (centers("slots", "batch"), *routing("patches"), *heads("batch"))
        given = (*inputs("patches"), *([coords] if config.spatial else []))
        return [Part("full", FullGraph(partial, finish), given, outputs)]
    # an engine is fastest at one size; on a CPU a slide's last chunk need not be padded to it
    rows = options.chunk_patches if options.is_engine else "patches"
    return [
        Part("partial", partial, inputs(rows), (centers("mean", "batch"), *routing(rows))),
        Part(
            "finish",
            finish,
            (
                centers("mean", "slides"),
                *([NamedTensor("mass", "float32", ("slides", slots))] if finish.needs_mass else []),
                *([moments] if config.spatial else []),
            ),
            (centers("slots", "slides"), *heads("slides")),
        ),
    ]


def _graphs(
    source: ExportSource, options: ExportOptions
) -> tuple[PartialGraph | SideBySide, FinishGraph]:
    """Build both halves of the model, or of an ensemble's members side by side."""
    from tcssa_exporters import graph
    from tcssa_exporters.ensemble import side_by_side

    halves = [
        graph.build_graphs(
            compressor, heads, options.precision.dtype, for_onnx_runtime=not options.is_engine
        )
        for compressor, heads in source.members
    ]
    return halves[0] if len(halves) == 1 else side_by_side(halves, list(source.heads))


def _head_shapes(finish: FinishGraph, slots: int, dim: int) -> list[tuple[int, ...]]:
    """Find the shape of each head's output for one slide, by running the heads."""
    import torch

    moments = None if finish.places is None else torch.zeros(1, slots, VECTOR_LENGTH)
    with torch.no_grad():
        _, *outputs = finish(torch.zeros(1, slots, dim), torch.ones(1, slots), moments)
    return [tuple(output.shape[1:]) for output in outputs]
