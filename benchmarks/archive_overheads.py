"""What an archive of many small slides costs beside the computing, in ms a slide.

    python benchmarks/archive_overheads.py [--slides 20000] [--to hdf5 parquet] [--out FOLDER]
    python benchmarks/archive_overheads.py --slides 100000 --simulated

So many files of 40 patches (D = 64, float16) are written, and each of these is timed in a process
of its own, with its peak memory: listing them; encoding them (K = 8, torch on the CPU); the same
command again, with nothing to do. With --simulated nothing is encoded: the archive is made of
copies of one slide's file and an index that is right, which is all that the last step looks at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa.features import find_bags
from tcssa_runtimes import encode, open_runtime
from tcssa_runtimes.archive.archive_index import write_index
from tcssa_runtimes.archive.slot_files import require_facts, slide_features_path

NUM_PATCHES, FEATURE_DIM, NUM_SLOTS = 40, 64, 8

_STEP = """
import json, sys, time
from pathlib import Path
from tcssa_runtimes import EncodeOptions, encode, open_runtime
from tcssa_runtimes.archive.inputs import archive

step, bags, model, out, to = sys.argv[1:]
runtime = open_runtime(Path(model), device="cpu")
begin = time.perf_counter()
if step == "list":
    number = len(archive([Path(bags)]))
else:
    report = encode([Path(bags)], Path(out), runtime, options=EncodeOptions(to=to))
    assert not report.failed, report.failed[:3]
    number = report.num_encoded + report.num_skipped
seconds = time.perf_counter() - begin
(peak,) = [x for x in open("/proc/self/status") if x.startswith("VmHWM")]
print(json.dumps([number, seconds, int(peak.split()[1]) / 1000]))
"""


def main() -> None:
    """Write the slides, and time each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=20_000)
    parser.add_argument("--to", nargs="+", choices=["hdf5", "parquet"], default=["hdf5"])
    parser.add_argument("--simulated", action="store_true", help="Make the archive up.")
    parser.add_argument("--out", type=Path, help="Folder that is kept; its slides are used again.")
    args = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        bags, model = folder / f"bags-{args.slides}", folder / "model.safetensors"
        write_bags(bags, args.slides)
        torch.manual_seed(0)
        config = CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS)
        save_compressor(SlotCompressor(config), model)
        measure("list", bags, model, folder / "none", "hdf5")
        for to in ["hdf5"] if args.simulated else args.to:
            out = folder / f"encoded-{to}"
            shutil.rmtree(out, ignore_errors=True)
            if args.simulated:
                simulate(bags, model, out)
            else:
                measure("encode", bags, model, out, to)
            measure("again", bags, model, out, to)


def write_bags(folder: Path, number: int) -> None:
    """Write feature files, copies of one but for their first number.

    Args:
        folder: The folder; files that are there are kept.
        number: Number of files.
    """
    begin = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / "first.tmp"
    with h5py.File(first, "w") as file:
        rng = np.random.default_rng(0)
        features = rng.standard_normal((NUM_PATCHES, FEATURE_DIM)).astype(np.float16)
        file["features"] = features
        coords = file.create_dataset("coords", data=np.arange(2 * NUM_PATCHES).reshape(-1, 2) * 256)
        coords.attrs["patch_size_level0"] = 256
        offset = file["features"].id.get_offset()
    content = bytearray(first.read_bytes())
    first.unlink()
    for index in range(number):
        path = folder / f"slide-{index:06}.h5"
        if not path.exists():
            content[offset : offset + 2] = np.float16(index / number).tobytes()
            path.write_bytes(content)
    print(f"{number} slides written in {time.perf_counter() - begin:.0f} s", flush=True)


def simulate(bags: Path, model: Path, out: Path) -> None:
    """Write an archive whose files are copies of one slide's, with an index that fits the bags.

    Args:
        bags: Folder of the slides.
        model: The model.
        out: The archive.
    """
    refs = find_bags([bags])
    encode([refs[0].path], out, open_runtime(model, device="cpu"))
    first = require_facts(slide_features_path(out, refs[0].slide_id))
    content = first.path.read_bytes()
    rows = []
    for ref in refs:
        path, stat = slide_features_path(out, ref.slide_id), ref.path.stat()
        path.write_bytes(content)
        origin = replace(
            first.origin,
            input_name=ref.name,
            input_bytes=stat.st_size,
            input_mtime_ns=stat.st_mtime_ns,
        )
        rows.append(replace(first, path=path, name=ref.slide_id, origin=origin))
    write_index(out / "index.csv", rows)


def measure(step: str, bags: Path, model: Path, out: Path, to: str) -> None:
    """Run a step in a process of its own, and print what it took.

    Args:
        step: ``list``, ``encode`` or ``again``.
        bags: Folder of the slides.
        model: The model.
        out: The archive.
        to: What it is made of.
    """
    command = [sys.executable, "-c", _STEP, step, *map(str, (bags, model, out)), to]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    number, seconds, peak_mb = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{to:8} {step:7} {number:7} slides  {seconds:8.1f} s  {1000 * seconds / number:7.3f} ms "
        f"a slide  peak {peak_mb:5.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
