"""Weights of the published implementations, under our names.

Each method's parameters are the published ones, renamed; so weights that others trained load
with ``tcssa train-mil --init FILE``, and tests compare with outputs of the published code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tcssa.errors import CheckpointError
from tcssa.files.boundary import reading

_CLAM = [
    (r"^attention_net\.0\.", "embed.0."),
    (r"^attention_net\.3\.attention_a\.0\.", "attention.value."),
    (r"^attention_net\.3\.attention_b\.0\.", "attention.gate."),
    (r"^attention_net\.3\.attention_c\.", "attention.score."),
    (r"^instance_classifiers\.", "instance."),
]
_RENAMED: dict[str, list[tuple[str, str]]] = {
    "clam_sb": [*_CLAM, (r"^classifiers\.weight$", "out"), (r"^classifiers\.bias$", "out_bias")],
    "clam_mb": _CLAM,
    "dsmil": [
        (r"^i_classifier\.fc\.0\.", "instance."),
        (r"^b_classifier\.q\.", "query."),
        (r"^b_classifier\.fcc\.", "bag."),
    ],
    "transmil": [
        (r"^_fc1\.", "embed."),
        (r"^cls_token$", "class_token"),
        (r"^layer1\.", "first."),
        (r"^layer2\.", "second."),
        (r"\.attn\.", ".attention."),
        (r"^pos_layer\.proj\.", "position.convolutions.0."),
        (r"^pos_layer\.proj1\.", "position.convolutions.1."),
        (r"^pos_layer\.proj2\.", "position.convolutions.2."),
        (r"^_fc2\.", "out."),
    ],
    "rrt": [
        (r"^patch_to_emb\.", "embed."),
        (r"^online_encoder\.layers\.0\.", "regional."),
        (r"^online_encoder\.cr_msa\.", "across."),
        (r"^online_encoder\.norm\.", "norm."),
        (r"\.attn\.attn\.", ".attention."),
        (r"\.attn\.phi$", ".phi"),
        (r"\.pe\.", ".position."),
        (r"^pool_fn\.attention\.attention\.", "attention."),
        (r"^predictor\.", "out."),
    ],
    "abmilx": [
        (r"^feature\.", "embed."),
        (r"^attention\.fc1\.", "score.0."),
        (r"^attention\.fc2\.", "score.2."),
        (r"^attn_plus_fn\.norm_x\.", "norm."),
        (r"^attn_plus_fn\.qk\.", "qk."),
        (r"^attn_plus_fn\.v\.", "value."),
        (r"^classifier\.", "out."),
    ],
}


def from_published(name: str, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Rename the state dict of a published implementation to our names.

    Args:
        name: The method.
        state: The published state dict.
        path: File named in errors.

    Raises:
        CheckpointError: The names of this method's published weights are not known, or keys are
            missing.
    """
    if name not in _RENAMED:
        raise CheckpointError(
            path,
            f"the names of published weights of {name!r} are not known",
            hint=f"known are {', '.join(sorted(_RENAMED))}, and checkpoints of tcssa itself",
        )
    with reading(path, CheckpointError):
        return _renamed(name, state, path)


def _renamed(name: str, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    renamed = {_rename(key, _RENAMED[name]): value for key, value in state.items()}
    if name == "clam_mb":  # one linear layer a class there, one matrix here
        for ours, kind in (("out", "weight"), ("out_bias", "bias")):
            keys = [key for key in renamed if re.fullmatch(rf"classifiers\.\d+\.{kind}", key)]
            if not keys:
                raise CheckpointError(path, f"the keys classifiers.*.{kind} are missing")
            keys.sort(key=lambda key: int(key.split(".")[1]))
            renamed[ours] = torch.cat([renamed.pop(key) for key in keys])
    if "class_token" in renamed:
        renamed["class_token"] = renamed["class_token"].flatten(0, -2)
    return renamed


def _rename(key: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
