"""Features in HDF5, NumPy, torch and text, and tensors of checkpoints, as their libraries read."""

from __future__ import annotations

import csv
import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fuzz.digest import same_numbers
from fuzz.oracles import RefusedError


def check_hdf5(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with what h5py reads, from datasets whose rows are all in the file."""
    with h5py.File(path, "r") as file:
        name = "features" if "features" in file else "feats"
        if isinstance(file[name], h5py.Group):
            (inner,) = [key for key in file[name] if isinstance(file[name][key], h5py.Dataset)]
            name = f"{name}/{inner}"
        features = _rows(file, name)
        corners = None
        if isinstance(file.get("coords"), h5py.Dataset):
            corners = np.asarray(_rows(file, "coords")[:, :2])
            if not np.isfinite(corners.astype(np.float64)).all():
                raise RefusedError("corners that are no numbers")
    return _compared(bag, _with_lost_rows(features, bag["features"]), corners)


def _with_lost_rows(features: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Take rows that HDF5 does not find by their keys, and gives as zeros, as they were read."""
    if features.shape != found.shape:
        return features
    lost = (features == 0).all(axis=1)
    return np.where(lost[:, None], found, features)


def _rows(file: h5py.File, name: str) -> NDArray[Any]:
    """Rows of a dataset that lies in the file whole."""
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        # not File.get, which asks after the index of blocks too
        link = file.id.links.get_info("/".join(parts[:depth]).encode())
        if link.type == h5py.h5l.TYPE_EXTERNAL:
            raise RefusedError("a link to another file")
    dataset = file[name]
    if dataset.external or dataset.is_virtual:
        raise RefusedError("rows of another file")
    if dataset.chunks is not None:
        sides = zip(dataset.shape, dataset.chunks, strict=True)
        wanted = math.prod(-(-size // chunk) for size, chunk in sides)
        if dataset.id.get_num_chunks() < wanted:
            raise RefusedError("blocks that nobody wrote")
    elif dataset.id.get_storage_size() < dataset.size * dataset.id.get_type().get_size():
        raise RefusedError("rows that nobody wrote")
    return np.asarray(dataset[()])


def check_npy(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with what NumPy loads without pickles."""
    return _compared(bag, _as_rows(np.load(path, allow_pickle=False)))


def check_pickled_npy(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with what Python's unpickler makes of arrays and tensors alone."""
    with path.open("rb") as stream:
        if np.lib.format.read_magic(stream) == (1, 0):
            np.lib.format.read_array_header_1_0(stream)
        else:
            np.lib.format.read_array_header_2_0(stream)
        content: Any = _DataOnly(stream).load()
    while isinstance(content, np.ndarray | list) and np.shape(content) in ((), (1,)):
        content = content.item() if isinstance(content, np.ndarray) else content[0]
    found = next(content[key] for key in ("feature", "features", "feat") if key in content)
    if hasattr(found, "detach"):
        found = found.detach().float().numpy()
    return _compared(bag, _as_rows(found))


class _DataOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Admit what the seeds are made of; only their damaged copies are read by it."""
        if module.split(".")[0] not in ("numpy", "torch", "collections"):
            raise RefusedError(f"{module}.{name}")
        return super().find_class(module, name)


def check_pt(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with what torch loads of weights only, from a zip whose checksums are right."""
    import torch

    _require_whole_zip(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict):
        content = content.get("features", content.get("feat"))
    content = content.detach()
    found = content.float() if content.dtype == torch.bfloat16 else content
    return _compared(bag, _as_rows(found.numpy()))


def check_feature_csv(path: Path, bag: Mapping[str, Any]) -> str | None:
    """Compare a bag with the rows that the csv module reads strictly.

    Of each row, the header apart, the features are the same columns; without a header, what stands
    beside them is no number.
    """
    text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    begin = next((line for line in text if line.strip()), "")
    text.seek(0)
    mark = next((mark for mark in "\t;" if mark in begin), ",")
    read = csv.reader(text, delimiter=mark, strict=True)
    rows = [row for row in read if any(cell.strip() for cell in row)]
    num_rows, dim = bag["features"].shape
    if num_rows not in (len(rows), len(rows) - 1):
        return f"{num_rows} rows of features, the table has {len(rows)}"
    cells = rows[len(rows) - num_rows :]
    for first in range(len(cells[0]) - dim + 1):
        beside = [*cells[0][:first], *cells[0][first + dim :]]
        try:
            features = [[float(cell) for cell in row[first : first + dim]] for row in cells]
        except ValueError:
            continue
        if num_rows == len(rows) and any(_is_number(cell) for cell in beside):
            continue
        if _compared(bag, np.array(features, np.float32)) is None:
            return None
    return "no columns of the table are these features"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_tensors(path: Path, found: Mapping[str, Any]) -> str | None:
    """Compare a state dict with the tensors that the safetensors library loads."""
    from safetensors.torch import load_file

    stored = load_file(path)
    for name, tensor in found["state"].items():
        one = stored.get(name, stored.get(f"compressor.{name}"))
        if one is None:
            return f"tensor {name} is not in the file"
        if not same_numbers(one.float().numpy(), tensor.float().numpy()):
            return f"tensor {name} has other numbers"
    return None


def check_reference(path: Path, found: Mapping[str, Any]) -> str | None:
    """Compare a compressor's gate and experts with the tensors that torch loads."""
    import argparse
    import pathlib

    import torch

    _require_whole_zip(path)
    admitted: list[Any] = [argparse.Namespace, (pathlib.PurePosixPath, "pathlib.PosixPath")]
    with torch.serialization.safe_globals(admitted):
        content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("model_state_dict", content)
    state = {name.removeprefix("compressor."): value for name, value in state.items()}
    names = {"router.gate.weight": "gate.weight", "router.gate.bias": "gate.bias"}
    wanted = {ours: state[theirs].float() for ours, theirs in names.items()}
    experts = range(len(wanted["router.gate.bias"]))
    stacked = [state[f"experts.{k}.net.0.weight"].float().T for k in experts]
    wanted["experts.w_in"] = torch.stack(stacked)
    for name, tensor in wanted.items():
        if not same_numbers(tensor.detach().numpy(), found["state"][name].numpy()):
            return f"tensor {name} has other numbers"
    return None


def _require_whole_zip(path: Path) -> None:
    """Refuse a zip with a member of another checksum: torch does not look at them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if (member := file.testzip()) is not None:
                raise RefusedError(f"a wrong checksum of {member}")


def _as_rows(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 3 and len(array) == 1:
        return np.asarray(array[0])
    return array[None] if array.ndim == 1 and array.size else array


def _compared(
    bag: Mapping[str, Any], features: NDArray[Any], corners: NDArray[Any] | None = None
) -> str | None:
    if not same_numbers(bag["features"], features):
        return "features differ"
    found = bag["coords"]
    if (found is None) != (corners is None):
        return "coords are in one of both"
    if corners is not None and not np.array_equal(found, corners):
        return "coords differ"
    return None
