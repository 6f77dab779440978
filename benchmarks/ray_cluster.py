"""Extraction on a Ray cluster that loses nodes, beside one undisturbed process.

    pip install 'ray[default]'
    python benchmarks/ray_cluster.py --slides 60 --out /tmp/ray-cluster

Three nodes of one core each start on this machine. One is killed when a third of the slides is
done, another at two thirds, when a fresh one is added too. Printed are seconds, each actor's share,
and whether every HDF5 file has the bytes that one process gave.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from slide_files import draw_slides

from tcssa.crew.ray_actors import RayActors
from tcssa.reporter import Printed, Task
from tcssa.slides import ExtractOptions, ExtractSettings, extract
from tcssa.slides.extraction.extract_options import ExtractWorkers

_STORE_BYTES = 80_000_000
_DRAWN = 3
SETTINGS = ExtractSettings(encoder="efficientnet_lite0_random")


def main() -> None:
    """Run both and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    slides, job = _slides(arguments.out, arguments.slides), arguments.out / "job"
    began = time.perf_counter()
    extract(slides, job, SETTINGS)
    print(f"one process: {time.perf_counter() - began:.1f} s")
    undisturbed = _hashes(job)
    shutil.rmtree(job)
    with _cluster() as cluster:
        nodes = [_add_node(cluster) for _ in range(3)]
        reporter = _Killing(cluster, nodes, len(slides))
        began = time.perf_counter()
        options = ExtractOptions(workers=ExtractWorkers(RayActors(cluster.address, 3)))
        report = extract(slides, job, SETTINGS, reporter, options)
        print(f"three nodes, two of them lost: {time.perf_counter() - began:.1f} s")
    for share in report.workers:
        print(f"  {share.worker}: {share.num_slides} slides{', died' if share.died else ''}")
    print(f"failed: {len(report.failed)}; same bytes: {_hashes(job) == undisturbed}")


class _Killing(Printed):
    """A reporter that kills nodes as slides are done."""

    def __init__(self, cluster: Any, nodes: list[Any], num_slides: int) -> None:
        super().__init__()
        self.cluster, self.nodes, self.num_slides, self.num_done = cluster, nodes, num_slides, 0

    @contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Task]:
        """See `tcssa.reporter.Reporter.task`."""
        yield self

    def advance(self, amount: int = 1) -> None:
        """Count a slide, and kill a node at a third and at two thirds of them."""
        for _ in range(amount):
            self.num_done += 1
            if self.num_done in (self.num_slides // 3, 2 * self.num_slides // 3):
                self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)
            if self.num_done == 2 * self.num_slides // 3:
                _add_node(self.cluster)

    def skip(self, amount: int) -> None:
        """See `tcssa.reporter.Task.skip`."""

    def describe(self, text: str) -> None:
        """See `tcssa.reporter.Task.describe`."""


@contextmanager
def _cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def _add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)


def _slides(out: Path, number: int) -> list[Path]:
    """Draw a few slides and copy them under other names."""
    drawn = draw_slides(out / "drawn", _DRAWN)
    (out / "slides").mkdir()
    paths = [out / "slides" / f"S{n:04}.tif" for n in range(number)]
    for n, path in enumerate(paths):
        shutil.copy(drawn[n % _DRAWN], path)
    return paths


def _hashes(job: Path) -> dict[str, str]:
    files = sorted(job.rglob("*.h5"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
