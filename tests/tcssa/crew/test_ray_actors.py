from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crew_jobs import Numbered, Write
from ray_nodes import add_node, ray_cluster

from tcssa.crew.dispatcher import Dispatcher
from tcssa.crew.ray_actors import RayActors
from tcssa.errors import DeviceError
from tcssa.reporter import Silent

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of all kinds

ITEMS = [Numbered(f"S{n:03}") for n in range(600)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    with ray_cluster() as made:
        yield made


def test_a_cluster_that_loses_two_of_three_nodes_does_each_item_once(
    cluster: Any, tmp_path: Path
) -> None:
    nodes = [add_node(cluster) for _ in range(3)]
    rows: list[str] = []

    def on_row(row: str) -> None:
        rows.append(row)
        if len(rows) == 200:
            cluster.remove_node(nodes[0], allow_graceful=False)
        if len(rows) == 400:
            cluster.remove_node(nodes[1], allow_graceful=False)
            add_node(cluster)

    reporter = Silent()
    with reporter.task("work", len(ITEMS), "slides") as task:
        crew = RayActors(cluster.address, 3)
        shares = Dispatcher(Write(tmp_path), ITEMS, crew, on_row, reporter, task).run()
    assert rows == ["done"] * 600
    assert sum(share.num_slides for share in shares) == 600
    assert sum(share.died for share in shares) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [item.slide_id for item in ITEMS]
    assert sum("its process or its node is gone" in text for text in reporter.warnings) == 2


def test_a_cluster_without_a_gpu_needs_a_number_of_workers(cluster: Any) -> None:
    with pytest.raises(DeviceError, match="the Ray cluster has no GPU"):
        RayActors(cluster.address, None)
