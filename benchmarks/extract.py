"""Patches per second of tcssa extract, beside a plain loop and beside its own two halves alone.

    python benchmarks/extract.py --slides FOLDER    # of slides
    python benchmarks/extract.py --region SLIDE     # two slides of 64 MP, its upper left repeated

In one run, on the same patches, with the embedded encoder:

- plain: one process, OpenSlide's read_region, a resize, eager torch in batches of 8;
- decode: our reader and its threads, nothing behind;
- encode: ONNX Runtime on pixels that are there already;
- ours: the whole of ``extract``, from slide files to feature files.

The limit is the slower of decode and encode alone, as if each had the whole machine. On a CPU both
share the cores: together they could reach 1 / (1/decode + 1/encode), printed as ``shared``. Loading
the encoder is not counted anywhere.

Cases: ``native`` reads 224 px at 0.5 µm, so that encoding is the slower; ``read`` 800 px resized to
224, so that decoding is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openslide
import torch

from tcssa.encoders import encoder_spec, load_encoder
from tcssa.encoders.pixels import PixelsToFeatures
from tcssa.slides import ExtractSettings, extract, find_slides
from tcssa.slides.extraction.job_layout import JobLayout
from tcssa.slides.extraction.plan import SlidePlan, plan_slide
from tcssa.slides.extraction.resume import params_of
from tcssa.slides.image.reader import PatchReader
from tcssa.slides.manifest import SlideFile
from tcssa.synthetic.repeated import real_region, write_large_slide

CASES = {
    "native": ExtractSettings(mpp=0.5, patch_size=224),
    "read": ExtractSettings(mpp=0.5, patch_size=800, stride=400),
    "light": ExtractSettings(mpp=0.5, patch_size=224, encoder="python:extract:MeanColours"),
}
BATCH, PX = 8, 224


class MeanColours:
    """An encoder that takes almost no time: the colours of some pixels."""

    name, weights_hash, device = "mean_colours", "none", "cpu"
    feature_dim, input_px, batch_size = 1280, PX, 128

    def encode(self, patches: np.ndarray) -> np.ndarray:
        """The first pixels of each patch."""
        return patches.reshape(len(patches), -1)[:, : self.feature_dim].astype(np.float32)


def main() -> None:
    """Measure the cases that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--slides", type=Path, help="folder of slides")
    source.add_argument("--region", type=Path, help="a slide with tissue in its upper left 2048 px")
    parser.add_argument("--cases", default="native,read,light")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain-patches", type=int, default=200, help="that the plain loop takes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.region:
            region = real_region(arguments.region)
            for number in range(2):
                write_large_slide(Path(folder) / f"slide-{number}.tif", region, 4, mpp=0.5)
        slides = find_slides([arguments.slides or Path(folder)])
        for name in arguments.cases.split(","):
            _case(name, slides, arguments.repeats, arguments.plain_patches)


def _case(name: str, slides: list[SlideFile], repeats: int, plain_patches: int) -> None:
    settings = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        layout, encoder = JobLayout.of(Path(folder), settings), encoder_spec(settings.encoder)
        plans = [
            plan_slide(slide, settings, layout, params_of(slide, settings, encoder))
            for slide in slides
        ]
    number = sum(len(plan.corners) for plan in plans)
    print(f"\n{name}: {len(slides)} slides, {number} patches of {settings.patch_size} px")
    sides = {
        "decode": lambda: _seconds(lambda: _decode(plans)),
        "encode": lambda: _encode_s(settings.encoder, number),
        "ours": lambda: _ours_s(slides, settings),
    }
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):  # side by side, so that a busy minute meets all of them
        for side, run in sides.items():
            rates[side].append(number / run())
    plain = plain_patches / _plain_s(plans, plain_patches)
    best = {side: statistics.median(found) for side, found in rates.items()}
    limit = min(best["decode"], best["encode"])
    shared = 1 / (1 / best["decode"] + 1 / best["encode"])
    print(f"  plain   {plain:8.1f} patches/s")
    for side, rate in best.items():
        print(f"  {side:7} {rate:8.1f} patches/s")
    print(f"  shared  {shared:8.1f} patches/s")
    print(
        f"  ours is {best['ours'] / plain:.1f} times plain, "
        f"{best['ours'] / limit:.0%} of the limit, {best['ours'] / shared:.0%} of shared"
    )


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _ours_s(slides: list[SlideFile], settings: ExtractSettings) -> float:
    with tempfile.TemporaryDirectory() as folder:
        report = extract(slides, folder, settings)
    assert not report.failed
    return report.seconds


def _decode(plans: list[SlidePlan]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for plan in plans:
            reader = PatchReader(plan.slide.path, plan.spec.patch_size_level0, PX)
            parts = [plan.corners[i : i + BATCH] for i in range(0, len(plan.corners), BATCH)]
            for _, readable in pool.map(reader.read, parts):
                assert readable.all()
            reader.close()


def _encode_s(name: str, number: int) -> float:
    encoder = load_encoder(name, "cpu")
    shape = (encoder.batch_size, PX, PX, 3)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    calls = number // encoder.batch_size
    with ThreadPoolExecutor(getattr(encoder, "calls_at_once", 1)) as pool:
        list(pool.map(lambda _: encoder.encode(pixels), range(4)))
        return _seconds(lambda: list(pool.map(lambda _: encoder.encode(pixels), range(calls))))


def _plain_s(plans: list[SlidePlan], number: int) -> float:
    made = encoder_spec("efficientnet_lite0").network
    assert made is not None  # it is a torch network
    network = PixelsToFeatures(made()).eval()
    return _seconds(lambda: _plain(network, plans, number))


def _plain(network: torch.nn.Module, plans: list[SlidePlan], number: int) -> None:
    waiting: list[np.ndarray] = []
    done = 0
    with torch.inference_mode():
        for plan in plans:
            slide = openslide.OpenSlide(str(plan.slide.path))
            side = plan.spec.patch_size_level0
            for x, y in plan.corners.tolist():
                patch = np.asarray(slide.read_region((x, y), 0, (side, side)).convert("RGB"))
                waiting.append(cv2.resize(patch, (PX, PX), interpolation=cv2.INTER_AREA))
                if len(waiting) == BATCH:
                    network(torch.from_numpy(np.stack(waiting)))
                    done, waiting = done + BATCH, []
                    if done >= number:
                        return


if __name__ == "__main__":
    main()
