"""Which resolution counts: the slide's own, one that is given for all, one for those without."""

from pathlib import Path
from typing import Any

import pytest
from slide_files import stained, write_slide

from tcssa.errors import UsageError
from tcssa.features import open_bag
from tcssa.reporter import Silent
from tcssa.slides import ExtractSettings, SlideFile, extract
from tcssa.slides.extraction.report import ExtractReport


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One slide that states 0.5 µm per pixel, and one that states nothing."""
    folder = tmp_path_factory.mktemp("slides")
    pixels = stained(600, 600)
    return [
        write_slide(folder / "stated.tif", pixels, mpp=0.5),
        write_slide(folder / "silent.tif", pixels, mpp=None),
    ]


def run(slides: list[Any], job: Path, **given: Any) -> tuple[ExtractReport, list[str]]:
    heard = Silent()
    settings = ExtractSettings(device="cpu", patch_size=128, tissue="all", **given)
    return extract(slides, job, settings, heard), heard.warnings


def test_a_fallback_is_for_slides_that_state_none(slides: list[Path], tmp_path: Path) -> None:
    report, warnings = run(slides, tmp_path, fallback_mpp=0.25)
    assert [slide.mpp for slide in report.slides] == [0.5, 0.25]
    assert [slide.mpp_source for slide in report.slides] == ["properties", "fallback"]
    assert warnings == ["silent: it states no resolution: 0.25 µm per pixel are taken"]
    with open_bag(report.features_folder / "silent.h5") as bag:
        assert bag.attributes["mpp_source"] == "fallback"


def test_a_fallback_mends_the_slides_that_failed_and_leaves_the_others(
    slides: list[Path], tmp_path: Path
) -> None:
    report, _ = run(slides, tmp_path)
    assert [slide.status for slide in report.slides] == ["done", "failed"]
    assert "--fallback-mpp" in (report.slides[1].reason or "")
    report, _ = run(slides, tmp_path, fallback_mpp=0.25)
    assert [slide.status for slide in report.slides] == ["skipped", "done"]
    report, _ = run(slides, tmp_path, fallback_mpp=0.25)
    assert report.count("skipped") == 2
    with pytest.raises(
        UsageError, match=r"silent: made with --fallback-mpp 0\.25 \(now 0\.5\)"
    ) as no:
        run(slides, tmp_path, fallback_mpp=0.5)
    assert "--overwrite" not in (no.value.hint or "")


def test_a_given_resolution_that_a_slide_contradicts_needs_force(
    slides: list[Path], tmp_path: Path
) -> None:
    report, _ = run(slides, tmp_path, slide_mpp=0.25)
    assert [slide.status for slide in report.slides] == ["failed", "done"]
    reason = report.slides[0].reason or ""
    assert "states 0.5 µm per pixel, and --slide-mpp says 0.25" in reason
    assert "--force-mpp" in reason
    report, warnings = run(slides, tmp_path, slide_mpp=0.25, force_mpp=True)
    assert [slide.status for slide in report.slides] == ["done", "skipped"]
    assert warnings[0] == "stated: it states 0.5 µm per pixel, and is read as 0.25 µm"


def test_one_that_nearly_agrees_does_not(slides: list[Path], tmp_path: Path) -> None:
    report, warnings = run(slides[:1], tmp_path, slide_mpp=0.46)
    assert (report.slides[0].mpp, warnings) == (0.46, [])


def test_a_manifests_resolution_counts_and_warns(slides: list[Path], tmp_path: Path) -> None:
    report, warnings = run([SlideFile(slides[0], "stated", 0.25)], tmp_path, slide_mpp=0.5)
    assert report.slides[0].mpp == 0.25
    assert warnings == ["stated: it states 0.5 µm per pixel, and is read as 0.25 µm"]


def test_another_resolution_is_refused_without_recommending_overwrite(
    slides: list[Path], tmp_path: Path
) -> None:
    run(slides[:1], tmp_path)
    with pytest.raises(UsageError, match=r"slide_mpp = None \(now 0\.52\)") as caught:
        run(slides[:1], tmp_path, slide_mpp=0.52)
    assert "--overwrite" not in (caught.value.hint or "")
    assert "--fallback-mpp" in (caught.value.hint or "")
    with pytest.raises(UsageError) as caught:
        run(slides[:1], tmp_path, min_tissue=0.5)
    assert "--overwrite" in (caught.value.hint or "")
