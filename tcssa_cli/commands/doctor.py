"""`tcssa doctor`: what runs on this machine, and what to install for more."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tcssa.compute.onnx_support import preload_cuda
from tcssa.errors import counted, one_line
from tcssa.files.cache_folder import cache_folder
from tcssa_cli.options import DebugFlag, JsonFlag
from tcssa_cli.output import Output, make_table
from tcssa_cli.versions import versions


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    what: str
    works: bool
    found: str
    advice: str = ""


def doctor(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Report what runs here: GPU, ONNX Runtime providers, TensorRT, OpenSlide, encoders, the cache.

    Examples:
        tcssa doctor
        tcssa doctor --json
    """
    output = Output(as_json)
    findings = [_look(what, probe) for what, probe in _PROBES.items()]

    def show(console: Console) -> None:
        rows = [
            [finding.what, "yes" if finding.works else "no", finding.found, finding.advice]
            for finding in findings
        ]
        console.print(make_table(None, ["", "works", "found", "for more"], rows))
        console.print(", ".join(f"{name} {version}" for name, version in versions().items()))

    data = {"findings": [asdict(finding) for finding in findings], "versions": versions()}
    output.result(data, show)


def _look(what: str, probe: Callable[[], Finding]) -> Finding:
    """Run one probe; a broken package is a finding and does not end the doctor."""
    try:
        return probe()
    except Exception as error:  # any fault of a package is a finding
        reason = one_line(error)
        return Finding(what, False, f"{type(error).__name__}: {reason}", "install it again")


def _machine() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding(
        "machine", True, f"{counted(os.cpu_count() or 1, 'core')}, {free:.0f} GB free on this disk"
    )


def _cache() -> Finding:
    folder = cache_folder()
    sizes = {
        "features": sum(map(_size, (folder / "features").rglob("*"))),
        "encoders": sum(map(_size, folder.glob("*.onnx-sha256"))),
    }
    found = ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in sizes.items())
    return Finding("cache", True, f"{folder}: {found}", "TCSSA_CACHE=DIR puts it elsewhere")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        major, minor = torch.cuda.get_device_capability()
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Finding("GPU", True, f"{name}, sm{major}{minor}, {memory:.0f} GB")
    if torch.version.cuda:
        return Finding("GPU", False, f"torch is built for CUDA {torch.version.cuda}, no GPU seen")
    advice = "on a machine with a GPU, install the CUDA build of torch"
    return Finding("GPU", False, "torch is a CPU build", advice)


def _onnxruntime() -> Finding:
    """Find the providers that really start: a session lists CUDA even without a GPU."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    preload_cuda()
    onnxruntime.set_default_logger_severity(4)  # it would print why CUDA does not start
    session = onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model),
        providers=["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    active = session.get_providers()
    return Finding("ONNX Runtime", True, f"active: {', '.join(active)}")


def _tensorrt() -> Finding:
    found = {
        name: importlib.util.find_spec(module) is not None
        for name, module in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx"))
    }
    installed = [name for name, there in found.items() if there]
    missing = [name for name, there in found.items() if not there]
    advice = "; ".join(f"pip install 'tcssa[{name}]'" for name in missing)
    if not installed:
        return Finding("TensorRT", False, "none: no --format trt", advice)
    return Finding("TensorRT", True, f"{' and '.join(installed)} installed", advice)


def _openslide() -> Finding:
    import openslide

    return Finding("OpenSlide", True, f"library {openslide.__library_version__}")


def _encoders() -> Finding:
    extra = [name for name in ("timm", "open_clip") if importlib.util.find_spec(name)]
    found = ", ".join(["efficientnet_lite0", *extra]) + "; all names: tcssa encoders"
    return Finding(
        "encoders", True, found, "" if "timm" in extra else "pip install 'tcssa[encoders]'"
    )


_PROBES: dict[str, Callable[[], Finding]] = {
    "machine": _machine,
    "cache": _cache,
    "GPU": _torch,
    "ONNX Runtime": _onnxruntime,
    "TensorRT": _tensorrt,
    "OpenSlide": _openslide,
    "encoders": _encoders,
}
