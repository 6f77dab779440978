"""Places of cells: within the region, about as far apart as asked."""

import numpy as np
import pytest

from tcssa.synthetic.placement import along_edges, scatter


def disk(side: int = 200, radius: int = 60) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 < radius**2


def test_points_lie_in_the_region_as_densely_as_asked() -> None:
    region = disk()
    points = scatter(np.random.default_rng(0), region, spacing=8, jitter=0.2)
    x, y = points.astype(int).T
    assert region[y, x].all()
    assert len(points) == pytest.approx(region.sum() / (8 * 8 * 0.87), rel=0.15)
    half = scatter(np.random.default_rng(0), region, 8, 0.2, np.full(region.shape, 0.5, np.float32))
    assert len(half) == pytest.approx(len(points) / 2, rel=0.2)


def test_points_follow_the_outline_and_know_its_direction() -> None:
    points, angles = along_edges(np.random.default_rng(0), disk(), spacing=6, jitter=0.0)
    from_centre = points - 100
    assert np.abs(np.hypot(*from_centre.T) - 60).max() < 2
    radial = from_centre / np.hypot(*from_centre.T)[:, None]
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert np.abs((radial * along).sum(axis=1)).mean() < 0.2  # a tangent is at right angles


def test_an_empty_region_has_no_edges() -> None:
    points, angles = along_edges(np.random.default_rng(0), np.zeros((9, 9), bool), 6, 0.0)
    assert points.shape == (0, 2)
    assert angles.shape == (0,)
