"""What an archive of many small slides costs beside the computing, in ms a slide.

    python benchmarks/archive_overheads.py --to hdf5 parquet --simulated 10000 100000
    python benchmarks/archive_overheads.py --slides --simulated 1000000

So many files of 40 patches (D = 64, float16) are written, and each of these is timed in a process
of its own, with its peak memory: listing them; claiming each and giving it back; encoding them
(K = 8, torch on the CPU); the same command again, with nothing to do; a query of Parquet parts,
where DuckDB is installed. Of --simulated slides nothing is encoded and files have no content: there
are their names, sizes and times, and an index that is right, which is all that the other steps look
at. On a machine that is shared the seconds of a core are to be compared, not those that passed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch

from tcssa import CompressorConfig, SlotCompressor
from tcssa.compressor import save_compressor
from tcssa_runtimes import open_runtime
from tcssa_runtimes.archive.archive_index import write_index
from tcssa_runtimes.archive.slot_files import FOLDER
from tcssa_runtimes.archive.stored_slots import EncodedFacts, Origin

NUM_PATCHES, FEATURE_DIM, NUM_SLOTS = 40, 64, 8

_STEP = """
import json, sys, time
from pathlib import Path
from tcssa_runtimes import EncodeOptions, encode, open_runtime
from tcssa_runtimes.archive.claims import Claims
from tcssa_runtimes.archive.inputs import archive

step, bags, model, out, to = sys.argv[1:]
runtime = open_runtime(Path(model), device="cpu")
options = EncodeOptions(to=to)
refs = archive([Path(bags)]).values() if step == "claim" else []
begin, cpu = time.perf_counter(), time.process_time()
if step == "list":
    number = len(archive([Path(bags)]))
elif step == "claim":
    number = 0
    with Claims(options.how(Path(out)), runtime) as claims:
        for bag in claims.of(refs, print, print):
            claims.give_back(bag)
            number += 1
elif step == "query":
    import duckdb
    parts = f"{out}/slide_features_tcssa/*.parquet"
    number = len(duckdb.sql(f"select slide_id, num_patches from '{parts}'").fetchall())
else:
    report = encode([Path(bags)], Path(out), runtime, options=options)
    assert not report.failed, report.failed[:3]
    number = report.num_encoded + report.num_skipped
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
(peak,) = [x for x in open("/proc/self/status") if x.startswith("VmHWM")]
print(json.dumps([number, seconds, cpu, int(peak.split()[1]) / 1000]))
"""


def main() -> None:
    """Write the slides, and time each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, nargs="*", default=[20_000])
    parser.add_argument("--to", nargs="+", choices=["hdf5", "parquet"], default=["hdf5"])
    parser.add_argument("--simulated", type=int, nargs="+", default=[], help="Made-up slides.")
    parser.add_argument("--out", type=Path, help="Folder that is kept; its slides are used again.")
    args = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "model.safetensors"
        torch.manual_seed(0)
        config = CompressorConfig(feature_dim=FEATURE_DIM, num_slots=NUM_SLOTS)
        save_compressor(SlotCompressor(config), model)
        for number in args.slides:
            bags, out = folder / f"bags-{number}", folder / f"encoded-{number}"
            write_bags(bags, number)
            measure("list", bags, model, folder / "none", "hdf5")
            for to in args.to:
                measure("claim", bags, model, folder / "none", to)
                shutil.rmtree(out, ignore_errors=True)
                measure("encode", bags, model, out, to)
                measure("again", bags, model, out, to)
                if to == "parquet" and find_spec("duckdb"):
                    measure("query", bags, model, out, to)
        for number in args.simulated:
            bags, out = folder / f"made-up-{number}", folder / f"made-up-encoded-{number}"
            simulate(bags, model, out, number)
            measure("list", bags, model, folder / "none", "hdf5")
            measure("claim", bags, model, folder / "none", "hdf5")
            measure("again", bags, model, out, "hdf5")


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


def simulate(bags: Path, model: Path, out: Path, number: int) -> None:
    """Write empty feature files, empty files of slots, and an index that says they are done.

    Args:
        bags: Folder of the slides.
        model: The model.
        out: The archive.
        number: Number of slides.
    """
    begin = time.perf_counter()
    runtime = open_runtime(model, device="cpu")
    for folder in (bags, out / FOLDER):
        folder.mkdir(parents=True, exist_ok=True)

    def make_up(index: int) -> EncodedFacts:
        bag, path = bags / f"slide-{index:07}.h5", out / FOLDER / f"slide-{index:07}.h5"
        bag.touch()
        path.touch()
        stat = bag.stat()
        hashed = f"{index:032x}"
        origin = Origin(runtime.facts.sha256, bag.name, 0, stat.st_mtime_ns, hashed)
        return EncodedFacts(path, path.stem, 40, 2.0, 8, "torch (cpu)", origin, None, None)

    write_index(out / "index.csv", map(make_up, range(number)))
    print(f"{number} slides made up in {time.perf_counter() - begin:.0f} s", flush=True)


def measure(step: str, bags: Path, model: Path, out: Path, to: str) -> None:
    """Run a step in a process of its own, and print what it took.

    Args:
        step: ``list``, ``claim``, ``encode``, ``again`` or ``query``.
        bags: Folder of the slides.
        model: The model.
        out: The archive.
        to: What it is made of.
    """
    command = [sys.executable, "-c", _STEP, step, *map(str, (bags, model, out)), to]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    number, seconds, cpu_s, peak_mb = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{to:8} {step:7} {number:8} slides  {seconds:8.1f} s  {1000 * seconds / number:7.3f} ms a "
        f"slide, {1000 * cpu_s / number:7.3f} of a core  peak {peak_mb:5.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
