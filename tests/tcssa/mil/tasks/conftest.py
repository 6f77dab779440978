from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    """Intervals of a few samples: what is tested here is what they are of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tcssa.statistics.metrics.BOOTSTRAP_SAMPLES", 40)
        yield
