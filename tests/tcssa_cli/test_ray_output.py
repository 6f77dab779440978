"""What a command on a Ray cluster prints when a node is lost while it works."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_nodes import add_node, ray_cluster
from slide_files import stained, write_slide

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own, of all kinds

NUM_SLIDES = 16
TCSSA = "from tcssa_cli.main import main; main()"


def test_json_is_whole_and_alone_on_stdout_when_a_node_is_lost(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    for n in range(NUM_SLIDES):
        write_slide(tmp_path / "slides" / f"S{n}.tif", stained(460, 460, seed=n))
    job = tmp_path / "job"
    with ray_cluster() as cluster:
        nodes = [add_node(cluster) for _ in range(2)]
        command = [sys.executable, "-c", TCSSA, "extract", tmp_path / "slides", "--out", job,
                   "--tissue", "all", "--encoder", "efficientnet_lite0_random", "--engine", "ray",
                   "--address", cluster.address, "--workers", "2", "--json"]  # fmt: skip
        with subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "stderr").open("w"),
            text=True,
            env=os.environ,
        ) as process:
            while process.poll() is None and not any(job.glob("*/features_*/[!.]*.h5")):
                time.sleep(0.05)
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            stdout, _ = process.communicate(timeout=300)
    assert process.returncode == 0, (tmp_path / "stderr").read_text()
    report = json.loads(stdout)
    assert [slide["status"] for slide in report["slides"]] == ["done"] * NUM_SLIDES
    assert sum(share["slides"] for share in report["workers"]) == NUM_SLIDES
    assert sum(share["died"] for share in report["workers"]) >= 1
