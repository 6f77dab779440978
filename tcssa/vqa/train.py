"""A whole training: rows prepared, parts fitted, and everything in a run directory.

::

    RUN/
      run.json                what the run is, and from what it was made
      config.resolved.yaml    every setting that was in force
      skipped.csv             rows that were left out, and why
      history.csv             losses and rates over the steps
      metrics.json            the step that was kept, its losses, counts, speed
      plots/loss.png          training and validation loss
      slots/ …                the slot cache, if it has no other place
      vqa.json, …             the model, see `tcssa.vqa.run`
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tcssa import atomic
from tcssa.checksums import file_sha256, params_hash
from tcssa.errors import RunError, UsageError
from tcssa.reporter import Reporter, Silent
from tcssa.run import RUN_FILE, read_run, write_run
from tcssa.settings import RESOLVED_FILE, read_yaml, write_resolved
from tcssa.vqa.batches import (
    Dropped,
    Row,
    check_dropped,
    count_dropped,
    describe_dropped,
    prepare_rows,
    require_apart,
    split_by_case,
    write_dropped,
)
from tcssa.vqa.fit import PROGRESS_FILE, Progress, VqaFit
from tcssa.vqa.history import plot_history, write_history
from tcssa.vqa.settings import VqaSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

KIND = "train-vqa"
METRICS_FILE = "metrics.json"
SKIPPED_FILE = "skipped.csv"
_FREE_TO_CHANGE = {
    "train": ("device", "checkpoint_every_s"),
    "visual": ("slot_cache", "use_slot_cache"),
    "llm": ("allow_hub", "gradient_checkpointing"),
}
"""Settings that a resumed run may change: they do not define the result."""


def train(settings: VqaSettings, out: Path, reporter: Reporter) -> dict[str, Any]:
    raise NotImplementedError
