"""ONNX Runtime: on the CPU, or with its CUDA or TensorRT provider.

CUDA ran on an H200 (docs/gpu.md); its TensorRT is not yet run on a GPU. ``onnxruntime-gpu`` lists
both on machines without a GPU and then silently runs on the CPU, so the providers that a session
really uses are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from tcssa.artefact import MANIFEST_FILE, Artefact, TensorSpec
from tcssa.compute.devices import num_cores
from tcssa.compute.onnx_support import preload_cuda
from tcssa.errors import ArtefactError, DeviceError, one_line
from tcssa.files.boundary import reading
from tcssa_runtimes.backends.artefact_runtime import Arrays, ArtefactRuntime
from tcssa_runtimes.contract.model_info import ModelFacts

Place = Literal["cpu", "cuda", "tensorrt"]

_PROVIDERS: dict[Place, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""By default it multiplies float32 with ten bits of mantissa, which are too few for the gate."""
_TENSORRT_MAJOR = "10"
"""ONNX Runtime's TensorRT provider links libnvinfer.so.10."""
_WARNING, _FATAL = 2, 4
_ONNX_TYPES = {
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
    "int64": "tensor(int64)",
}


class OnnxRuntime(ArtefactRuntime):
    """Runs an ONNX artefact.

    Args:
        folder: The artefact's folder.
        artefact: Its manifest.
        place: ``cpu``, ``cuda``, or ``tensorrt`` for ONNX Runtime's provider of that name.
        allow_cpu: Run on the CPU where the requested GPU is not available; `notes` then says so.
    """

    def __init__(
        self, folder: Path, artefact: Artefact, place: Place, *, allow_cpu: bool = False
    ) -> None:
        super().__init__(ModelFacts.of_artefact(folder, artefact), f"onnx ({place})")
        self._models = artefact.models
        self._files = {name: folder / model.file for name, model in artefact.models.items()}
        self._is_bfloat16 = "bfloat16" in artefact.precision.values()
        self._place: Place = place
        self._allow_cpu = allow_cpu
        self._sessions: dict[str, Any] = {}  # onnxruntime has no types
        self._device = "cpu"

    def _open(self) -> None:
        try:
            self._open_on(self._place)
        except DeviceError as error:
            if not self._allow_cpu or self._place == "cpu":
                raise
            self.notes.append(f"runs on the CPU, as allowed: {error}")
            self.name = f"onnx (cpu, {self._place} was asked for)"
            self._open_on("cpu")

    def _open_on(self, place: Place) -> None:
        import onnxruntime as ort

        if place == "cpu" and self._is_bfloat16:
            raise ArtefactError(
                self.facts.path,
                "ONNX Runtime has no bfloat16 on the CPU",
                hint="export with --precision fp16 or fp32, or run it with --device cuda",
            )
        if place == "tensorrt":
            _require_tensorrt_10()
        wanted = _PROVIDERS[place]
        if wanted not in ort.get_available_providers():
            raise DeviceError(
                f"this onnxruntime is built without {wanted}",
                hint="pip install onnxruntime-gpu, or use --device cpu",
            )
        sessions = {}
        for name, file in self._files.items():
            sessions[name] = _start(ort, file, wanted, on_gpu=place != "cpu")
            with reading(file, ArtefactError):  # names of its tensors may not be text
                sides = {
                    "inputs": (sessions[name].get_inputs(), self._models[name].inputs),
                    "outputs": (sessions[name].get_outputs(), self._models[name].outputs),
                }
                for side, (found, stated) in sides.items():
                    _require_same(file, side, found, stated)
            if wanted not in sessions[name].get_providers():
                raise DeviceError(
                    f"no CUDA device: ONNX Runtime could not start its {wanted}",
                    hint="check the driver, CUDA and cuDNN with tcssa doctor, use --device cpu, "
                    "or permit it with --allow-cpu",
                )
        self._sessions = sessions
        self._device = "cpu" if place == "cpu" else "cuda"

    def _close(self) -> None:
        self._sessions = {}

    def _call(self, graph: str, feed: Arrays) -> Arrays:
        session, outputs = self._sessions[graph], self._models[graph].outputs
        with reading(self._files[graph], ArtefactError):  # a damaged graph may fail as it runs
            if self._device == "cpu":
                names = [output.name for output in outputs]
                found: Arrays = dict(zip(names, session.run(names, dict(feed)), strict=True))
            else:
                found = bound_call(session, feed, self._device)
        self._require_stated(graph, found)
        return found

    def _require_stated(self, graph: str, found: Arrays) -> None:
        """Require outputs of the stated types and sizes, and assignments to slots that exist.

        Raises:
            ArtefactError: An output's type or size is not the stated one, or a slot number is out
                of range.
        """
        for output in self._models[graph].outputs:
            array = found[output.name]
            if not _is_shape(array.shape, output.shape) or array.dtype != output.dtype:
                reason = f"gave {output.name} as {array.dtype} {list(array.shape)}"
                raise ArtefactError(self._files[graph], f"{reason}, states {output.shape}")
        slots = found.get("assignments")
        if slots is not None and slots.size:
            least, most = int(slots.min()), int(slots.max())
            if least < -1 or most >= self.facts.num_slots:
                reason = f"routes patches to slots {least} to {most}, has {self.facts.num_slots}"
                raise ArtefactError(self._files[graph], reason)


def _require_same(
    file: Path, side: str, found: Sequence[Any], stated: Sequence[TensorSpec]
) -> None:
    """Require that a graph has the tensors that its artefact states, before memory is allocated.

    An output may leave a size open; see `_require_stated`.

    Raises:
        ArtefactError: The tensors' names, types or sizes are not the stated ones.
    """
    alike = [tensor.name for tensor in found] == [tensor.name for tensor in stated]
    for tensor, spec in zip(found, stated, strict=False) if alike else ():
        sizes = [size if isinstance(size, int) and size >= 0 else None for size in tensor.shape]
        if side == "outputs" and len(sizes) == len(spec.shape):
            open_too = zip(sizes, spec.shape, strict=True)
            sizes = [known if size is None else size for size, known in open_too]
        alike = alike and tensor.type == _ONNX_TYPES[spec.dtype] and sizes == spec.shape
    if not alike:
        shown = ", ".join(f"{tensor.name} {tensor.type} {tensor.shape}" for tensor in found[:4])
        raise ArtefactError(
            file,
            f"its {side} are not those that {MANIFEST_FILE} states: {shown}",
            hint="export it again",
        )


def _is_shape(found: tuple[int, ...], stated: Sequence[int | None]) -> bool:
    return len(found) == len(stated) and all(
        size in (None, n) for n, size in zip(found, stated, strict=True)
    )


def bound_call(session: Any, feed: Arrays, device: str) -> Arrays:  # onnxruntime has no types
    """Run a session with input and output in its device's memory, and copy the output back.

    Shapes may vary from call to call, so the session allocates the outputs.

    Args:
        session: A session of ONNX Runtime.
        feed: Inputs by name.
        device: The session's device in ONNX Runtime's words, e.g. ``cuda``; its first one is taken.

    Returns:
        Outputs by name.
    """
    import onnxruntime as ort

    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, device, 0))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, device, 0)
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.copy_outputs_to_cpu(), strict=True))


def _start(ort: Any, file: Path, provider: str, *, on_gpu: bool) -> Any:  # onnxruntime: no types
    try:
        with _quiet_start(ort, on_gpu=on_gpu):
            return ort.InferenceSession(
                str(file),
                _options(ort),
                providers=[provider],
                provider_options=[_PROVIDER_OPTIONS.get(provider, {})],
                enable_fallback=int(on_gpu),  # from the CPU to the CPU it only prints
            )
    except Exception as error:  # its error classes share no narrower base
        reason = one_line(error, 300)
        raise ArtefactError(file, f"ONNX Runtime cannot load it ({reason})") from error


def _options(ort: Any) -> Any:  # onnxruntime has no types
    """Return options for as many threads as this process may use, none of which waits by spinning.

    By default ONNX Runtime counts the machine's cores; where a job scheduler grants fewer, its
    threads get in each other's way. Spinning takes the cores from the threads that read the next
    slides: without it two cores encoded 389,000 patches a second instead of 280,000.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _require_tensorrt_10() -> None:
    """Check for the version of TensorRT that the provider links.

    Raises:
        DeviceError: Another major version is installed.
    """
    try:
        installed = version("tensorrt")
    except PackageNotFoundError:  # it may be installed by other means; if not, the session fails
        return
    if installed.partition(".")[0] != _TENSORRT_MAJOR:
        raise DeviceError(
            f"ONNX Runtime's TensorRT provider needs TensorRT {_TENSORRT_MAJOR}, installed is "
            f"{installed}",
            hint="pip install 'tensorrt<11', or export with --format trt and run the engine itself",
        )


@contextmanager
def _quiet_start(ort: Any, *, on_gpu: bool) -> Iterator[None]:  # onnxruntime has no types
    """Silence ONNX Runtime's own log while a session starts; its errors are raised as ours."""
    ort.set_default_logger_severity(_FATAL)
    try:
        if on_gpu:
            preload_cuda()
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)
