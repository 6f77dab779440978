"""Extraction on a Ray cluster that loses nodes, beside one undisturbed process.

    pip install 'ray[default]'
    python benchmarks/ray_cluster.py --slides 600 --out /tmp/ray-cluster [--submit]

Three nodes of one core each start on this machine. One is killed when a third of the slides is
done, another at two thirds, when a fresh one is added too. The command runs beside the cluster, or
with ``--submit`` as a job that the cluster is given. Printed are seconds, the driver's memory, the
most that lay in the object stores of all nodes, each actor's share, and whether every HDF5 file has
the bytes that one process gave.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from slide_files import draw_slides

_STORE_BYTES = 80_000_000
_DRAWN = 3
_SIDE = 896
_POLL_S = 0.2
# Runs tcssa with its result in a file, and says at its end how much memory it had.
_TCSSA = """
import atexit, resource, sys
from tcssa_cli.main import main

if __name__ == "__main__":
    most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sys.stdout = open(sys.argv.pop(1), "w")
    atexit.register(lambda: print(f"driver: {most():.0f} MB at most", file=sys.stderr, flush=True))
    main()
"""


def main() -> None:
    """Run both and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=60)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--submit", action="store_true", help="by ray job submit")
    arguments = parser.parse_args()
    out, number = arguments.out.absolute(), arguments.slides
    _draw(out, number)
    (out / "run.py").write_text(_TCSSA)
    job, report = out / "job", out / "report.json"
    command = [sys.executable, out / "run.py", report, "extract", out / "slides", "--out", job,
               "--encoder", "efficientnet_lite0_random", "--json"]  # fmt: skip
    _timed("one process", [*command, "--device", "cpu"])
    undisturbed = _hashes(job)
    shutil.rmtree(job)
    with _cluster() as cluster:
        nodes = [_add_node(cluster) for _ in range(3)]
        shared = [*command, "--engine", "ray", "--workers", "3", "--address", cluster.address]
        if arguments.submit:
            to = f"http://{cluster.head_node.webui_url}"
            shared = ["ray", "job", "submit", "--address", to, "--", *shared[:-1], "auto"]
        most_bytes = 0

        def look() -> None:
            nonlocal most_bytes
            most_bytes = max(most_bytes, _bytes_stored(cluster.head_node))
            num_done, at = len(list(job.glob("*/features_*/[!.]*.h5"))), 4 - len(nodes)
            if at <= 2 and num_done >= at * number // 3:
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                if at == 2:
                    _add_node(cluster)

        _timed("three nodes, two of them lost", shared, look)
    print(f"object stores: {most_bytes / 1e6:.3f} MB at most")
    told = json.loads(report.read_text())
    for share in told["workers"]:
        print(f"  {share['worker']}: {share['slides']} slides{', died' if share['died'] else ''}")
    done = sum(slide["status"] == "done" for slide in told["slides"])
    print(f"done: {done} of {number}; same bytes: {_hashes(job) == undisturbed}")


def _bytes_stored(head: Any) -> int:
    """Return how much lies in the object stores of all nodes; the head, which lives, is asked."""
    from ray._private.internal_api import get_memory_info_reply

    at = head.node_ip_address, head.node_manager_port
    stats = get_memory_info_reply(None, *at).store_stats
    return int(stats.object_store_bytes_used + stats.spilled_bytes_total)


def _timed(what: str, command: list[Any], look: Callable[[], None] = lambda: None) -> None:
    """Run a command, and look at it now and then."""
    began = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command])
    while process.poll() is None:
        look()
        time.sleep(_POLL_S)
    if process.returncode:
        sys.exit(f"{what}: exit code {process.returncode}")
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)


@contextmanager
def _cluster() -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": True}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def _add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES)


def _draw(out: Path, number: int) -> None:
    """Draw a few slides and copy them under other names."""
    drawn = draw_slides(out / "drawn", _DRAWN, width=_SIDE, height=_SIDE)
    (out / "slides").mkdir()
    for n in range(number):
        shutil.copy(drawn[n % _DRAWN], out / "slides" / f"S{n:04}.tif")


def _hashes(job: Path) -> dict[str, str]:
    files = sorted(job.rglob("*.h5"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
