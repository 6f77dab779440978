"""A user's ONNX model as an encoder: ``onnx:<file>``, or the folder of an encoder we exported.

Two kinds of graphs are accepted: uint8 [B, px, px, 3], which normalise by themselves as our
exports do, and float [B, 3, px, px], which expect normalised pixels. Side and D are read from the
graph. Mean and deviation are the lists ``mean`` and ``std`` of the file's metadata; without them
ImageNet's are used, and a remark says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from tcssa.encoders.base import SIDE, Device, EncoderSpec
from tcssa.encoders.catalogue import IMAGENET
from tcssa.encoders.exported import ExportedEncoder, is_exported
from tcssa.errors import ArtefactError, MissingDataError, TcssaError, UsageError, one_line
from tcssa.files.boundary import reading, require_file
from tcssa.files.checksums import file_sha256, params_hash
from tcssa.files.limits import Limit
from tcssa.files.text import first_fault, parse_json

PREFIX = "onnx:"

_WIDTH = Limit("TCSSA_MAX_FEATURE_DIM", 2**20, "numbers in a feature")
_BATCH = Limit("TCSSA_MAX_ENCODER_BATCH", 4096, "patches at once")
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class _Normalisation(BaseModel):
    """Mean and deviation of the pixels of each channel, within [0, 1]."""

    model_config = ConfigDict(strict=True)

    mean: list[FiniteFloat] = Field(min_length=3, max_length=3)
    std: list[Annotated[FiniteFloat, Field(gt=0)]] = Field(min_length=3, max_length=3)


@dataclass(frozen=True)
class _Graph:
    """Inputs, outputs and metadata of an ONNX file."""

    input: str
    output: str
    input_px: int
    feature_dim: int
    batch: int | None
    """The only number of patches it takes; None if it takes any."""
    float_type: Any
    """NumPy type of its normalised pixels; None if it takes bytes."""
    metadata: dict[str, str]


def spec(name: str, weights: Path | None = None) -> EncoderSpec:
    """Describe the encoder of an ONNX file.

    Args:
        name: ``onnx:<file or folder>``.
        weights: Must be None: the file is named in the name.

    Raises:
        UsageError: ``weights`` were given.
        MissingDataError: The file does not exist.
        ArtefactError: The file is no ONNX model or no encoder, or differs from the one that was
            exported.
    """
    if weights is not None:
        raise UsageError(f"{name} takes no --weights", hint="name the file itself: onnx:FILE")
    path = Path(name.removeprefix(PREFIX))
    folder = path if path.is_dir() else path.parent
    ours = ExportedEncoder.read(folder) if is_exported(folder) else None
    if path.is_dir():
        if ours is None:
            raise ArtefactError(path, "it holds no exported encoder", hint="name the .onnx file")
        path = folder / ours.file
    if not path.is_file():
        raise MissingDataError(f"there is no ONNX file {path}")
    if ours is not None and ours.file == path.name:
        return _exported_spec(ours, path)
    return _foreign_spec(name, path)


def _exported_spec(ours: ExportedEncoder, path: Path) -> EncoderSpec:
    """Describe an encoder of ours, under the name of the original that it was verified against."""
    if ours.format != "onnx":
        raise ArtefactError(
            path, f"{ours.format} engines are not run here", hint="export with --format onnx"
        )
    for part, digest in {path.name: ours.sha256, **ours.data_files}.items():
        if file_sha256(path.with_name(part)) != digest:
            raise ArtefactError(
                path.with_name(part), "it is not the file that was exported: its content changed"
            )

    def load(device: Device) -> OnnxFileEncoder:
        return OnnxFileEncoder(ours.name, path, ours.weights_hash, device)

    return EncoderSpec(ours.name, ours.weights_hash, load, ours.trained_mpp)


def _foreign_spec(name: str, path: Path) -> EncoderSpec:
    graph = _describe(_session(path, "cpu")[0], path)
    remarks: tuple[str, ...] = ()
    if graph.float_type is not None and _normalisation(graph, path) is None:
        remarks = (
            f"{path.name} does not say how pixels are normalised: ImageNet's mean and deviation "
            "are taken (metadata mean and std would say)",
        )

    beside = [path.with_name(path.name + ".data")]
    content = [file_sha256(part) for part in (path, *beside) if part.is_file()]
    weights_hash = params_hash({"content": content})

    def load(device: Device) -> OnnxFileEncoder:
        return OnnxFileEncoder(name, path, weights_hash, device)

    return EncoderSpec(name, weights_hash, load, remarks=remarks)


class OnnxFileEncoder:
    """See `tcssa.encoders.base.Encoder`.

    Args:
        name: The encoder's name.
        path: The ONNX file.
        weights_hash: Hash that changes with the weights.
        device: Where to run.

    Raises:
        ArtefactError: The file is no ONNX model of an encoder.
        DeviceError: ``device`` is ``cuda`` and CUDA is not available.
    """

    def __init__(self, name: str, path: Path, weights_hash: str, device: Device = "auto") -> None:
        self.name, self.weights_hash = name, weights_hash
        from tcssa.encoders.onnx_encoder import calls_at_once, usual_batch

        self._path = path
        self._session, self.device = _session(path, device)
        self._graph = _describe(self._session, path)
        self.input_px, self.feature_dim = self._graph.input_px, self._graph.feature_dim
        self.batch_size = self._graph.batch or usual_batch(self.device)
        self.calls_at_once = calls_at_once(self.device)
        mean, std = _normalisation(self._graph, path) or IMAGENET
        self._mean = np.asarray(mean, np.float32).reshape(1, 3, 1, 1) * 255
        self._std = np.asarray(std, np.float32).reshape(1, 3, 1, 1) * 255

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode RGB patches ``[b, input_px, input_px, 3]`` into features ``[b, d]``."""
        size = self._graph.batch
        if size is None:
            return self._run(patches)
        parts = [patches[first : first + size] for first in range(0, len(patches), size)]
        return np.concatenate([self._run(_filled(part, size))[: len(part)] for part in parts])

    def _run(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels: NDArray[Any] = patches
        if self._graph.float_type is not None:
            planes = patches.transpose(0, 3, 1, 2).astype(np.float32)
            pixels = ((planes - self._mean) / self._std).astype(self._graph.float_type)
        with reading(self._path, ArtefactError):  # a damaged graph may fail as it runs
            (features,) = self._session.run([self._graph.output], {self._graph.input: pixels})
            return np.asarray(features, np.float32).reshape(len(patches), self.feature_dim)


def _filled(patches: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Repeat the last patches of a slide up to the only batch size that the graph takes."""
    return patches[np.arange(size) % len(patches)]


def _session(path: Path, device: Device) -> tuple[Any, str]:
    from tcssa.encoders.onnx_encoder import open_session, require_cuda

    if device == "cuda":
        require_cuda()
    require_file(path, ArtefactError)
    try:
        return open_session(str(path), device)
    except (TcssaError, MemoryError):
        raise
    except Exception as error:  # its error classes share no narrower base
        reason = one_line(error)
        raise ArtefactError(
            path, f"ONNX Runtime cannot load it: {reason}", hint="give an ONNX model"
        ) from None


def _describe(session: Any, path: Path) -> _Graph:
    """Read the sizes and types of a graph.

    Raises:
        ArtefactError: The graph does not have one picture as input and features [B, D] as output.
    """
    with reading(path, ArtefactError):  # names and metadata may be no text
        return _described(session, path)


def _described(session: Any, path: Path) -> _Graph:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if not outputs:
        raise ArtefactError(path, "it has no outputs")
    if len(inputs) != 1:
        raise ArtefactError(path, f"it has {len(inputs)} inputs, an encoder has one")
    (picture,), feature = inputs, outputs[0]
    shape = list(picture.shape)
    by_pixel = picture.type == "tensor(uint8)"
    channels_at, side_at = (3, 1) if by_pixel else (1, 2)
    if len(shape) != 4 or shape[channels_at] != 3 or shape[side_at] != shape[side_at + 1]:
        raise ArtefactError(
            path,
            f"its input is {picture.type} {shape}",
            hint="an encoder takes uint8 [B, px, px, 3], or float [B, 3, px, px]",
        )
    side, dim = shape[side_at], feature.shape[-1] if feature.shape else None
    if not by_pixel and picture.type not in _FLOATS:
        raise ArtefactError(path, f"its input is {picture.type}, neither bytes nor floats")
    if not isinstance(side, int) or not isinstance(dim, int) or len(feature.shape) != 2:
        raise ArtefactError(
            path,
            f"it takes {shape} and gives {list(feature.shape)}",
            hint="export it with a fixed side of the picture and features [B, D]",
        )
    batch = shape[0] if isinstance(shape[0], int) else None
    for size, limit in ((side, SIDE), (dim, _WIDTH), (1 if batch is None else batch, _BATCH)):
        if size < 1:
            raise ArtefactError(path, f"it takes {shape} and gives {list(feature.shape)}")
        limit.require(size, path, ArtefactError)
    return _Graph(
        input=picture.name,
        output=feature.name,
        input_px=side,
        feature_dim=dim,
        batch=batch,
        float_type=None if by_pixel else _FLOATS[picture.type],
        metadata=dict(session.get_modelmeta().custom_metadata_map),
    )


def _normalisation(graph: _Graph, path: Path) -> tuple[list[float], list[float]] | None:
    """Read mean and deviation from the file's metadata; None if they are not there.

    Raises:
        ArtefactError: They are not three numbers each, within the range of pixels.
    """
    if "mean" not in graph.metadata or "std" not in graph.metadata:
        return None
    stated = {
        name: parse_json(graph.metadata[name], path, ArtefactError, top=list)
        for name in ("mean", "std")
    }
    try:
        found = _Normalisation.model_validate(stated)
    except ValidationError as fault:
        raise ArtefactError(
            path,
            f"its metadata mean and std are not three numbers each: {first_fault(fault)}",
            hint="write them as [0.485, 0.456, 0.406], within [0, 1]",
        ) from None
    return found.mean, found.std
