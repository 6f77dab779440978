import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shared_data import require_shared
from sklearn.datasets import load_sample_image

from tcssa.encoders import (
    Encoder,
    efficientnet,
    encoder_names,
    encoder_spec,
    load_encoder,
    onnx_encoder,
)
from tcssa.errors import DeviceError, MissingDataError, MissingExtraError, UnknownNameError
from tcssa.files.cache_folder import cache_folder
from tcssa.slides.image.slide import Slide


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("efficientnet_lite0", "cpu")


@pytest.fixture(scope="module")
def patches() -> NDArray[np.uint8]:
    """Real tissue, nine patches."""
    with Slide(require_shared("slides/cmu-1-small-region.svs")) as slide:
        corners = [(x, y) for y in (1200, 1500, 1800) for x in (900, 1150, 1400)]
        return np.stack([slide.read_patch(x, y, 224, 224) for x, y in corners])


def test_features_equal_the_torch_networks(encoder: Encoder, patches: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        expected = efficientnet._build(pretrained=True)(torch.from_numpy(patches[:3])).numpy()
    features = encoder.encode(patches[:3])
    assert features.dtype == np.float32
    assert features.shape == (3, encoder.feature_dim) == (3, 1280)
    assert np.abs(features - expected).max() < 1e-4


def test_a_patchs_features_do_not_depend_on_its_batch(
    encoder: Encoder, patches: NDArray[np.uint8]
) -> None:
    together = encoder.encode(patches)
    alone = np.concatenate([encoder.encode(patches[row : row + 1]) for row in range(9)])
    assert np.abs(together - alone).max() < 1e-5
    assert together.std(axis=0).mean() > 0.01  # and do depend on the patch


def test_pixels_are_scaled_as_the_weights_expect() -> None:
    """On photographs, the first batch normalisation meets the variance that it was trained on.

    With ImageNet's mean and deviation the median ratio is 6, with [0, 1] it is 0.3.
    """
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    photos = [cv2.resize(photo[:, 100:527], (224, 224)) for photo in photos]
    module = efficientnet._build(pretrained=True)
    stem, seen = module.network.trunk._bn0, []
    stem.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.inference_mode():
        module(torch.from_numpy(np.stack(photos)))
    alive = stem.running_var > 1e-3
    ratio = seen[0].var((0, 2, 3))[alive] / stem.running_var[alive]
    assert 0.6 < float(ratio.median()) < 1.7


def test_the_control_has_other_features_and_the_same_on_every_load(
    encoder: Encoder, patches: NDArray[np.uint8]
) -> None:
    control = load_encoder("efficientnet_lite0_random", "cpu")
    first = control.encode(patches[:2])
    assert control.feature_dim == encoder.feature_dim
    assert control.weights_hash != encoder.weights_hash
    assert not np.allclose(first, encoder.encode(patches[:2]))
    with torch.inference_mode():
        again = efficientnet._build(pretrained=False)(torch.from_numpy(patches[:2])).numpy()
    assert np.allclose(first, again, atol=1e-4)


def test_random_weights_leave_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    efficientnet._build(pretrained=False)
    assert torch.equal(torch.rand(1), expected)


def test_a_cached_encoder_needs_no_export(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "_build", lambda **_: pytest.fail("was built again"))
    load_encoder("efficientnet_lite0", "cpu")


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_broken_cache_file_is_made_again(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    (shared,) = cache_folder().glob("efficientnet_lite0-*")
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path))
    path, whole = tmp_path / shared.name, shared.read_bytes()
    middle = len(whole) // 2
    broken = (
        whole[:middle] if damage == "cut" else whole[:middle] + b"\0" * 64 + whole[middle + 64 :]
    )
    path.write_bytes(broken)
    made = []

    def export(_module: object, _input_px: object) -> bytes:
        made.append(True)
        return whole[:-32]  # the export itself takes seconds and is tested above

    monkeypatch.setattr("tcssa.encoders.onnx_export.export_onnx", export)
    load_encoder("efficientnet_lite0", "cpu")
    assert made
    assert path.read_bytes() == whole


def test_an_unwritable_cache_does_not_stop_the_encoder(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patches: NDArray[np.uint8]
) -> None:
    (path,) = cache_folder().glob("efficientnet_lite0-*")
    model = path.read_bytes()[:-32]
    (tmp_path / "file").touch()
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr("tcssa.encoders.onnx_export.export_onnx", lambda *_: model)
    again = load_encoder("efficientnet_lite0", "cpu")
    assert np.array_equal(again.encode(patches[:1]), encoder.encode(patches[:1]))


def test_a_misspelt_encoder_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        encoder_spec("efficientnet_light0")
    assert "efficientnet_lite0" in caught.value.hint
    assert "efficientnet_lite0" in encoder_names()


def test_cuda_without_a_driver_is_an_error_and_auto_takes_the_cpu(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_encoder, "_has_cuda", lambda: False)
    with pytest.raises(DeviceError, match="cuda"):
        load_encoder("efficientnet_lite0", "cuda")
    assert load_encoder("efficientnet_lite0", "auto").device == "cpu"


def test_a_cuda_provider_that_does_not_start_is_an_error(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnx_encoder, "_has_cuda", lambda: True)
    session = types.SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_args, **_kwargs: session)
    with pytest.raises(DeviceError, match="could not start"):
        load_encoder("efficientnet_lite0", "cuda")


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(encoder: Encoder, patches: NDArray[np.uint8]) -> None:
    if not onnx_encoder._has_cuda():
        pytest.skip("no CUDA device")
    on_gpu = load_encoder("efficientnet_lite0", "cuda")
    assert on_gpu.device == "cuda"
    assert np.abs(on_gpu.encode(patches) - encoder.encode(patches)).max() < 1e-3


def test_timm_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError) as caught:
        encoder_spec("timm:vit_small_patch16_224")
    assert caught.value.hint == "pip install 'tcssa[encoders]'"


def test_a_timm_model_encodes_with_its_own_normalisation(
    monkeypatch: pytest.MonkeyPatch, patches: NDArray[np.uint8]
) -> None:
    """Against a stand-in for timm: a network that means the pixels it is given."""
    config = {"input_size": (3, 224, 224), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}

    class Means(torch.nn.Module):
        num_features = 3

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.mean((2, 3))

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> torch.nn.Module:
        if name == "untrained":
            raise RuntimeError("No pretrained weights exist for untrained.")
        assert (name, pretrained, num_classes) == ("means", True, 0)
        return Means()

    stand_in = types.SimpleNamespace(
        __version__="1",
        list_models=lambda: ["means", "untrained"],
        list_pretrained=lambda: ["means.tag"],
        create_model=create_model,
        data=types.SimpleNamespace(resolve_model_data_config=lambda _network: config),
    )
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    encoder = load_encoder("timm:means", "cpu")
    assert (encoder.name, encoder.feature_dim, encoder.input_px) == ("timm:means", 3, 224)
    expected = (patches.mean((1, 2)) / 255 - 0.5) / 0.25
    assert np.allclose(encoder.encode(patches), expected, atol=1e-4)
    with pytest.raises(UnknownNameError, match="timm model"):
        encoder_spec("timm:meens")
    with pytest.raises(MissingDataError, match="No pretrained weights"):
        load_encoder("timm:untrained", "cpu")
