"""The files of deploy/: what they run is understood, and pods ask for no more than they need."""

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tcssa_cli.main import app

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DOCKERFILES = sorted((DEPLOY / "docker").glob("Dockerfile.*"))

RAY_JOB = {"entrypoint", "entrypointNumCpus", "submissionMode", "submitterConfig",
           "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}  # fmt: skip
"""Those of the keys of ``RayJobSpec`` (KubeRay, ray-operator/apis/ray/v1) that we use."""
HEAD = {"rayStartParams", "template"}
WORKERS = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def loaded(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def pods(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The specifications of all pods."""
    if manifest["kind"] == "Job":
        yield manifest["spec"]["template"]["spec"]
    else:
        cluster = manifest["spec"]["rayClusterSpec"]
        yield cluster["headGroupSpec"]["template"]["spec"]
        yield from (group["template"]["spec"] for group in cluster["workerGroupSpecs"])


def command_lines() -> Iterator[Any]:
    """Every command of tcssa in the files, those in comments too, with stand-ins for variables."""
    for path in sorted(each for each in DEPLOY.rglob("*") if each.is_file()):
        text = path.read_text(encoding="utf-8").replace("I/N", "1/2")
        text = re.sub(r"\$\{part\}/\$\{parts\}|\$\(\(.*?\)\)/8", "1/2", text)
        text = re.sub(r"\$\{task.ext.args.*?\}", "", text)
        for found in re.findall(
            r"(?:\btcssa|\.sbatch|tcssa:\S+) ((?:extract|encode) [^>\n]+)", text
        ):
            yield pytest.param(shlex.split(found.rstrip('"]')), id=f"{path.name}: {found}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_a_command_in_a_file_is_understood(words: list[str]) -> None:
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


def test_the_job_s_own_arguments_are_understood() -> None:
    (container,) = next(pods(loaded(DEPLOY / "kubernetes" / "indexed-job.yaml")))["containers"]
    name, *rest = container["args"]
    typer.main.get_command(app).commands[name].make_context(name, rest)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_pods_run_without_root_and_keep_weights_on_a_volume(path: Path) -> None:
    for pod in pods(loaded(path)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
            assert mounts["cache"] == "/cache"
            assert mounts.keys() <= volumes


def test_the_job_gives_each_pod_an_index() -> None:
    spec = loaded(DEPLOY / "kubernetes" / "indexed-job.yaml")["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]
    # FailIndex needs a limit by index, and a policy needs pods that are not restarted in place
    assert spec["backoffLimitPerIndex"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_ray_job_has_keys_of_kuberay_alone() -> None:
    manifest = loaded(DEPLOY / "kubernetes" / "rayjob.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    assert manifest["spec"].keys() <= RAY_JOB
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["headGroupSpec"].keys() == HEAD
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() == WORKERS
    parameters = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(
        isinstance(value, str) for each in parameters for value in each["rayStartParams"].values()
    )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_jobs_and_pods_are_what_kubernetes_publishes(path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="nox -s deploy installs it")
    manifest = loaded(path)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tcssa"}}
    documents = [pod | {"spec": spec} for spec in pods(manifest)]
    for document in [*documents, *([manifest] if manifest["kind"] == "Job" else [])]:
        validator.validate(document, "1.31", strict=True)
        broken = copy.deepcopy(document)
        broken["spec"]["nonsense"] = 1
        with pytest.raises(validator.ValidationError):
            validator.validate(broken, "1.31", strict=True)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_has_a_user_a_cache_outside_and_only_what_the_package_needs(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    assert "USER 10001:10001" in lines
    assert 'VOLUME ["/cache"]' in lines
    (environment,) = [line for line in lines if line.startswith("ENV ")]
    assert "HF_HOME=/cache/" in environment
    assert "TCSSA_CACHE=/cache/" in environment
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            sources = line.split()[1:-1]
            assert all((DEPLOY.parent / source).exists() for source in sources)
