"""Encoders that users bring: a folder of transformers, an ONNX file, their own code."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

from tcssa.encoders import encoder_spec, load_encoder
from tcssa.encoders.base import EncoderSpec, Network
from tcssa.encoders.exported import ExportedEncoder
from tcssa.encoders.torch_encoder import torch_spec
from tcssa.errors import (
    ArtefactError,
    DeviceError,
    MissingDataError,
    ParityError,
    UsageError,
)
from tcssa_exporters import encoder as encoder_module
from tcssa_exporters import export_encoder


def random_patches(side: int, num: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (num, side, side, 3), dtype=np.uint8)


def save_hf(folder: Path, kind: str) -> Any:
    import transformers

    torch.manual_seed(0)
    if kind == "class token":
        config = transformers.ViTConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            image_size=32, patch_size=16,
        )  # fmt: skip
        model: Any = transformers.ViTModel(config)
    else:
        model = transformers.ResNetModel(
            transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
            )
        )
    model.eval().save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor", "image_mean": [0.6, 0.5, 0.4],
        "image_std": [0.2, 0.3, 0.4], "size": {"height": 32, "width": 32},
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


@pytest.mark.parametrize("kind", ["class token", "pooled output"])
def test_a_model_of_transformers_gives_its_class_token_or_its_pooled_output(
    tmp_path: Path, kind: str
) -> None:
    model = save_hf(tmp_path, kind)
    encoder = load_encoder(f"hf:{tmp_path}", "cpu")
    patches = random_patches(32)
    pixels = (patches / 255 - [0.6, 0.5, 0.4]) / [0.2, 0.3, 0.4]
    with torch.inference_mode():
        output = model(pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    tokens = output.last_hidden_state
    expected = tokens[:, 0] if kind == "class token" else tokens.mean((2, 3))
    assert encoder.input_px == 32
    np.testing.assert_allclose(encoder.encode(patches), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_folder_without_a_processor_or_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no weights"):
        encoder_spec(f"hf:{tmp_path}")
    save_hf(tmp_path, "class token")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(MissingDataError, match=r"no preprocessor_config\.json"):
        encoder_spec(f"hf:{tmp_path}")


def write_mean_model(path: Path, shape: list[Any], **metadata: str) -> Path:
    """A graph that means its normalised pixels: features are the three channels."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save_model(model, path)
    return path


def test_a_float_graph_without_metadata_is_given_imagenets_pixels_and_says_so(
    tmp_path: Path,
) -> None:
    path = write_mean_model(tmp_path / "m.onnx", ["b", 3, 16, 16])
    spec = encoder_spec(f"onnx:{path}")
    assert any("ImageNet" in doubt for doubt in spec.doubts(0.5))
    encoder = spec.load("cpu")
    patches = random_patches(16)
    expected = (patches.mean((1, 2)) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert (encoder.input_px, encoder.feature_dim) == (16, 3)
    np.testing.assert_allclose(encoder.encode(patches), expected, atol=1e-4)


def test_a_graph_of_one_batch_size_takes_any_number_of_patches(tmp_path: Path) -> None:
    stated = {"mean": "[0.5, 0.5, 0.5]", "std": "[0.25, 0.25, 0.25]"}
    path = write_mean_model(tmp_path / "m.onnx", [2, 3, 16, 16], **stated)
    spec = encoder_spec(f"onnx:{path}")
    assert spec.doubts(0.5) == []
    patches = random_patches(16, 5)
    expected = (patches.mean((1, 2)) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(spec.load("cpu").encode(patches), expected, atol=1e-4)


def test_graphs_that_are_no_encoders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        encoder_spec(f"onnx:{tmp_path / 'nowhere.onnx'}")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ArtefactError, match="cannot load"):
        encoder_spec(f"onnx:{tmp_path / 'text.onnx'}")
    with pytest.raises(ArtefactError, match="and gives"):
        encoder_spec(f"onnx:{write_mean_model(tmp_path / 'm.onnx', ['b', 3, 'h', 'h'])}")
    path = write_mean_model(tmp_path / "n.onnx", ["b", 3, 8, 8], mean="[1]", std="[1]")
    with pytest.raises(ArtefactError, match="three numbers"):
        encoder_spec(f"onnx:{path}")


def small_spec() -> EncoderSpec:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Network(module.eval(), 4, 16, (0.6, 0.5, 0.4), (0.2, 0.3, 0.4))
    return torch_spec("small", "hash", lambda: network, trained_mpp=(0.5,))


def test_an_exported_encoder_is_the_same_encoder(tmp_path: Path) -> None:
    spec = small_spec()
    made = export_encoder(spec, tmp_path / "out")
    assert made == ExportedEncoder.read(tmp_path / "out")
    assert {(row.patches, row.batch) for row in made.parity} == {
        ("random", 1), ("random", 3), ("constant", 1), ("constant", 3),
    }  # fmt: skip
    patches = random_patches(16, 5)
    for name in ("out", "out/model.onnx"):
        again = encoder_spec(f"onnx:{tmp_path / name}")
        assert (again.name, again.weights_hash) == ("small", "hash")
        assert again.doubts(1.0) == spec.doubts(1.0) != []
        expected = spec.load("cpu").encode(patches)
        np.testing.assert_allclose(again.load("cpu").encode(patches), expected, atol=1e-5)


def test_a_transformer_is_exported(tmp_path: Path) -> None:
    save_hf(tmp_path, "class token")
    made = export_encoder(encoder_spec(f"hf:{tmp_path}"), tmp_path / "out")
    assert (made.feature_dim, made.input_px) == (32, 32)
    assert max(row.relative for row in made.parity) < 1e-4


def test_a_changed_export_is_not_taken_for_the_encoder(tmp_path: Path) -> None:
    export_encoder(small_spec(), tmp_path / "out")
    write_mean_model(tmp_path / "out" / "model.onnx", ["b", 3, 16, 16])
    with pytest.raises(ArtefactError, match="content changed"):
        encoder_spec(f"onnx:{tmp_path / 'out'}")


def test_a_graph_that_differs_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = encoder_module.write_onnx

    def write_other(part: Any, path: Path, metadata: Any) -> list[Path]:
        with torch.no_grad():
            part.module.network[0].bias += 0.01
        written = write(part, path, metadata)
        with torch.no_grad():
            part.module.network[0].bias -= 0.01
        return written

    monkeypatch.setattr(encoder_module, "write_onnx", write_other)
    with pytest.raises(ParityError, match="differs from torch"):
        export_encoder(small_spec(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_is_built_from_an_encoder(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    made = export_encoder(small_spec(), tmp_path / "out", format="trt-rtx", max_batch=16)
    assert made.build["profile_patches"] == "1x16x16x3, 16x16x16x3, 16x16x16x3"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "encoder.json", "model.plan",
    ]  # fmt: skip
    assert made.not_run is not None
    with pytest.raises(ArtefactError, match="not run here"):
        encoder_spec(f"onnx:{tmp_path / 'out'}")


class Means:
    """An encoder as a user would write one."""

    name, weights_hash, device = "means", "v1", "cpu"
    feature_dim, input_px, batch_size = 3, 8, 4
    trained_mpp = (1.0,)

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        return patches.mean((1, 2)).astype(np.float32)


def test_ones_own_code_is_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(make=Means, not_callable=3))
    spec = encoder_spec("python:mine:make")
    assert (spec.name, spec.weights_hash, spec.trained_mpp) == ("means", "v1", (1.0,))
    assert spec.load("auto").encode(random_patches(8)).shape == (3, 3)
    with pytest.raises(DeviceError):
        spec.load("cuda")
    for name in ("python:mine", "python:mine:nothing", "python:mine:not_callable", "python:no_x:f"):
        with pytest.raises(UsageError):
            encoder_spec(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"feature_dim": 4}, "of one patch"),
        ({"weights_hash": ""}, "weights_hash"),
        ({"encode": None}, "no method"),
    ],
)
def test_what_is_no_encoder_is_told_why(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: str
) -> None:
    monkeypatch.setitem(
        sys.modules, "mine", SimpleNamespace(make=type("Changed", (Means,), change))
    )
    with pytest.raises(UsageError, match=told):
        encoder_spec("python:mine:make")


def test_an_encoder_off_its_resolution_is_doubted() -> None:
    spec = small_spec()
    assert spec.doubts(0.5) == spec.doubts(0.54) == []
    assert "trained at 0.5 µm per pixel; patches are read at 0.25" in spec.doubts(0.25)[0]


def test_no_flipped_bit_of_a_graph_leads_to_an_error_of_another_kind(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = write_mean_model(tmp_path / "whole.onnx", [None, 3, 16, 16]).read_bytes()
    path, refused = tmp_path / "damaged.onnx", 0
    for bit in range(0, 8 * len(whole), 7):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            encoder = encoder_spec(f"onnx:{path}").load("cpu")
            features = encoder.encode(random_patches(encoder.input_px))
        except ArtefactError:
            refused += 1
        else:
            assert features.shape[1] == encoder.feature_dim
    assert refused > len(whole) / 4
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "shape", [[None, 3, 2**20, 2**20], [0, 3, 16, 16], [10**6, 3, 16, 16], [None, 3, 0, 0]]
)
def test_a_graph_of_odd_sizes_takes_no_memory(tmp_path: Path, shape: list[int | None]) -> None:
    with pytest.raises(ArtefactError):
        encoder_spec(f"onnx:{write_mean_model(tmp_path / 'm.onnx', shape)}")
