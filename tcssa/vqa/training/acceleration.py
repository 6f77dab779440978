"""A training's part that accelerate does: precision, several processes, sharding, trackers.

The processes have met already (`tcssa.compute.processes`), and accelerate joins the group that it
finds. Data-parallel processes hold the whole model each; sharded ones hold a part of every weight
(FSDP2, torch's ``fully_shard``), whose parameters are DTensors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tcssa.compute.processes import Processes
from tcssa.errors import UsageError
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.settings import VqaTrainSettings
from tcssa.vqa.training.tracking import TRACKING_FOLDER

_BY_LAUNCHER = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
"""Variables by which ``accelerate launch`` asks for sharding."""


def make_accelerator(
    model: SlideLanguageModel, settings: VqaTrainSettings, folder: Path, processes: Processes
) -> Accelerator:
    """Make the Accelerator of a training.

    Args:
        model: The model, its trainable parts marked.
        settings: Settings of the training.
        folder: The run directory.
        processes: The processes that train together.

    Raises:
        UsageError: The launcher is to shard by itself.
    """
    for name in _BY_LAUNCHER:
        if os.environ.get(name, "false").lower() == "true":
            raise UsageError(
                f"the launcher's configuration sets {name}, which is not supported",
                hint="choose several GPUs in it and nothing else; --shard divides the weights",
            )
    # one Python process may train several times; accelerate keeps the state of the first
    AcceleratorState._reset_state(reset_partial_state=True)
    trains_visual = any(parameter.requires_grad for parameter in model.visual.parameters())
    plugin = _sharding(model) if settings.shard else None
    accelerator = Accelerator(
        cpu=processes.device.type == "cpu",
        device_placement=False,
        mixed_precision="bf16" if settings.precision == "bf16" else "no",
        fsdp_plugin=plugin,
        log_with=settings.track,
        project_dir=folder / TRACKING_FOLDER if settings.track else None,
        kwargs_handlers=[
            DistributedDataParallelKwargs(
                broadcast_buffers=False,
                find_unused_parameters=trains_visual,  # an expert may get no patch
            )
        ],
    )
    os.environ.pop(_BY_LAUNCHER[0], None)  # accelerate sets it where a plugin is given
    if plugin is not None and accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate shards on GPUs alone; torch does so over gloo as well
        PartialState().distributed_type = DistributedType.FSDP
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = plugin
    return accelerator


def _sharding(model: SlideLanguageModel) -> FullyShardedDataParallelPlugin:
    """Shard each layer of the language model by itself, and the rest together.

    Types stay as they are: autocast chooses them, as it does without sharding.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy

    names = {type(module).__name__ for module in model.llm.modules()}
    layers = names & set(getattr(model.llm, "_no_split_modules", None) or ())
    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=sorted(layers),
        mixed_precision_policy=MixedPrecisionPolicy(),
        cpu_ram_efficient_loading=False,  # the weights come from `load_parts`
    )


def share_held(model: nn.Module) -> float:
    """Return the share of a model's numbers that this process holds, 0 to 1."""
    held = total = 0
    for parameter in model.parameters():
        total += parameter.numel()
        part = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        held += part.numel()
    return held / total


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor, put together from all processes if it is sharded; all must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a whole tensor on a parameter's device, or this process's part where that is sharded.

    Args:
        tensor: The same whole tensor in every process.
        parameter: The parameter.
    """
    tensor = tensor.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return tensor
    mesh: Any = parameter.device_mesh
    return distribute_tensor(tensor, mesh, parameter.placements, src_data_rank=None)
