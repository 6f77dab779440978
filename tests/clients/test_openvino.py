"""OpenVINO runs our artefacts; asked for float32 it computes what ONNX Runtime does."""

from typing import Any

import numpy as np
import pytest
from exports import Exported
from factories import make_features

from tcssa_runtimes import open_runtime


@pytest.mark.parametrize("num_patches", [0, 1, 7, 1000])
def test_a_full_artefact_runs_in_float32(exported: Exported, num_patches: int) -> None:
    openvino = pytest.importorskip("openvino")
    folder = exported()
    core = openvino.Core()
    model = core.read_model(folder / "model.onnx")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    features = make_features(num_patches).numpy()
    found: dict[str, Any] = {
        port.get_any_name(): np.array(values)
        for port, values in compiled(
            {"features": features[None], "lengths": np.array([num_patches])}
        ).items()
    }
    with open_runtime(folder) as runtime:
        wanted = runtime.run(features[None], np.array([num_patches]))
    np.testing.assert_allclose(found["slots"], wanted.slots, atol=2e-5)
    np.testing.assert_allclose(found["mass"], wanted.mass, rtol=1e-5, atol=2e-5)
    assert np.array_equal(found["assignments"], wanted.assignments)
