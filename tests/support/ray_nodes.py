"""A Ray cluster of this machine, whose nodes can be lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_STORE = 80_000_000


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """A cluster whose head does no work."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # actors import the jobs of tests
        head = {"num_cpus": 0, "object_store_memory": _STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        yield made
        ray.shutdown()
        made.shutdown()


def add_node(cluster: Any) -> Any:
    """Add a node of one core."""
    return cluster.add_node(num_cpus=1, object_store_memory=_STORE)
