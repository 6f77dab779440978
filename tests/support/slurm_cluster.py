"""A Slurm of one node on this machine, as root, without accounting."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=1
SchedulerParameters=sched_min_interval=0
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class Slurm:
    """Its commands."""

    def __init__(self, conf: Path) -> None:
        self._environment = os.environ | {"SLURM_CONF": str(conf)}

    def run(self, *command: str, where: Path | None = None, **more: str) -> str:
        """The output of a command of Slurm."""
        done = subprocess.run(
            command, cwd=where, env=self._environment | more, text=True, capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def states(self, job: str) -> dict[str, str]:
        """The state of each task of an array, by its name."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        fields = [
            dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines
        ]
        return {each.get("ArrayTaskId", "0"): each["JobState"] for each in fields}


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Slurm]:
    """Start the daemons, and end them; ``folder`` has a short path, for a socket lies in it."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    host, (port, node_port) = socket.gethostname().split(".")[0], _free_ports()
    conf.write_text(_CONF.format(host=host, folder=folder, port=port, node_port=node_port))
    slurm = Slurm(conf)
    daemons: list[subprocess.Popen[bytes]] = []
    files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    munge += ["--foreground", "--force", f"--key-file={key}"]
    try:
        for command in (
            ("munged", *munge),
            ("slurmctld", "-D", "-c"),
            ("slurmd", "-D", "-N", host),
        ):
            daemons.append(_daemon(command, conf))
            time.sleep(1)
        deadline = time.monotonic() + 60
        while "idle" not in _node_state(slurm):
            assert time.monotonic() < deadline, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.2)
        yield slurm
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(20)
            daemon.kill()
            daemon.wait()


def _daemon(command: Sequence[str], conf: Path) -> subprocess.Popen[bytes]:
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None
    return subprocess.Popen(
        [program, *command[1:]],
        env=os.environ | {"SLURM_CONF": str(conf)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _node_state(slurm: Slurm) -> str:
    try:
        return slurm.run("sinfo", "--noheader", "--format=%T")
    except AssertionError:  # not up yet
        return ""


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
