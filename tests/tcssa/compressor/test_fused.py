"""The fused kernel where there is no GPU: interpreted, compiled, and when it is used."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from factories import make_compressor, make_features

from tcssa.compressor import fused
from tcssa.compressor.fused_plan import plan
from tcssa.compressor.gate_parts import split_gate

triton = pytest.importorskip("triton", reason="Triton is not installed")

SHARED_BYTES = {80: 163 * 1024, 86: 99 * 1024, 90: 227 * 1024}
"""Shared memory that one program may have, by compute capability (CUDA's programming guide). 8.9
has as much as 8.6."""
POINTERS = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32"}


def test_the_interpreted_kernel_does_what_plain_torch_does() -> None:
    # a process of its own, since Triton reads this variable when it is imported
    cases = Path(__file__).with_name("fused_cases.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(cases), "-q", "-x", "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert re.search(r"\d\d passed", run.stdout)


@pytest.mark.matrix
@pytest.mark.parametrize("is_salient", [False, True], ids=["plain", "salient"])
@pytest.mark.parametrize("capability", SHARED_BYTES)
@pytest.mark.parametrize(
    ("dtype", "num_slots", "feature_dim"),
    [
        (torch.float16, 32, 1024),
        (torch.bfloat16, 64, 1536),
        (torch.float16, 16, 1536),
        (torch.float32, 128, 1024),
    ],
    ids=str,
)
def test_it_compiles_and_fits(
    dtype: torch.dtype,
    num_slots: int,
    feature_dim: int,
    capability: int,
    is_salient: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = compiled(dtype, num_slots, feature_dim, capability, is_salient=is_salient)
    assert kernel.metadata.shared <= SHARED_BYTES[capability]
    assert stack_bytes(kernel.asm["cubin"], tmp_path) <= 352
    ptx = kernel.asm["ptx"]
    assert "cp.async.cg.shared.global" in ptx  # 16 bytes a thread, on their way while others work
    assert "tf32" not in ptx
    assert ("mma" in ptx) == (dtype != torch.float32)
    assert not re.search(r"\b(atom|red)\.", ptx)


@pytest.mark.parametrize("is_salient", [False, True], ids=["plain", "salient"])
def test_the_usual_model_spills_little(
    is_salient: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for capability in (80, 90):
        kernel = compiled(torch.float16, 32, 1024, capability, is_salient=is_salient)
        assert stack_bytes(kernel.asm["cubin"], tmp_path) <= (256 if is_salient else 128)


def compiled(  # noqa: ANN201
    dtype: torch.dtype, num_slots: int, feature_dim: int, capability: int, *, is_salient: bool
):
    """`sum_segments` for a GPU that need not be there."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tcssa.compressor.fused_kernel import sum_segments

    constants = fused.kernel_constants(
        num_slots, feature_dim, 2, dtype, align=16, is_salient=is_salient
    )
    types = {
        "segments": "*i64",
        "gate": POINTERS[dtype],
        "bias": "*fp32",
        "gate_unit": "fp32",
        "salience_line": "*fp32",
        "salience": "*fp32",
        "weights": "*fp32",
        "indices": "*i64",
        "table": "*fp32",
        **dict.fromkeys(constants, "constexpr"),
    }
    names = sum_segments.arg_names
    source = ASTSource(
        fn=sum_segments,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        # torch's allocations are aligned, and Triton sees that at a launch
        attrs={
            (i,): [["tt.divisibility", 16]]
            for i, name in enumerate(names)
            if types[name].startswith("*")
        },
    )
    warps = plan(num_slots, feature_dim, dtype).num_warps
    return triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps}
    )


def stack_bytes(cubin: bytes, folder: Path) -> int:
    """Bytes a thread that registers did not hold."""
    import triton.backends.nvidia

    tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    run = subprocess.run(
        [str(tool), "--dump-resource-usage", str(file)], capture_output=True, text=True, check=True
    )
    usage = re.search(r"sum_segments:\s+REG:\d+ STACK:(\d+)", run.stdout)
    assert usage is not None, run.stdout
    return int(usage[1])


@pytest.mark.parametrize("scale", [1e-6, 0.03, 40.0])
@pytest.mark.parametrize("dtype", POINTERS, ids=str)
def test_the_parts_of_the_gate_are_as_good_as_float32(dtype: torch.dtype, scale: float) -> None:
    weight = scale * torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    parts, unit = split_gate(weight, dtype)
    assert parts.dtype == dtype
    assert parts.isfinite().all()
    joined = parts[:, :6].double().sum(dim=0) * unit
    # float16: 22 bits; the others all 24
    allowed = {torch.float16: 2.0**-21, torch.bfloat16: 2.0**-24, torch.float32: 0.0}[dtype]
    assert (joined - weight.double()).abs().max() <= allowed * weight.abs().max()
    assert not parts[:, 6:].any()


def test_it_is_not_used_on_the_cpu() -> None:
    assert not fused.takes([make_features(3)], 6, 2)


def test_a_missing_triton_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fused, "find_spec", lambda _: None)
    fused._triton_is_here.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert not fused._triton_is_here()
            assert not fused._triton_is_here()
    finally:
        fused._triton_is_here.cache_clear()
    (record,) = caplog.records
    assert "pip install 'tcssa[triton]'" in record.message


def test_the_switch_and_the_noise_keep_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(fused, "takes", lambda *_: calls.append("asked") or False)
    model = make_compressor()
    bag = make_features(5)
    model.compress([bag])
    assert calls == ["asked"]
    model.fused = False
    model.compress([bag])
    model.fused = True
    model.train().compress([bag])  # the kernel knows no noise
    assert calls == ["asked"]
