"""timm and open_clip themselves, with random weights; run by `nox -s encoders`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from optional_packages import needs_cuda, needs_open_clip, needs_timm
from PIL import Image

from tcssa.encoders import encoder_spec, load_encoder
from tcssa.errors import UnknownNameError, UsageError


def random_patches(side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)


@needs_timm
@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224"])
def test_timm_agrees_with_its_own_transform(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model(model, pretrained=False, num_classes=0).eval()

    def create_model(name: str, *, pretrained: bool, num_classes: int) -> torch.nn.Module:
        assert (name, pretrained, num_classes) == (model, True, 0)  # the hub is not asked here
        return network

    monkeypatch.setattr(timm, "create_model", create_model)
    encoder = load_encoder(f"timm:{model}", "cpu")
    patches = random_patches(encoder.input_px)
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**{**config, "crop_pct": 1.0}, is_training=False)
    with torch.inference_mode():
        expected = network(torch.stack([transform(Image.fromarray(patch)) for patch in patches]))
    features = encoder.encode(patches)
    assert features.shape == (3, encoder.feature_dim)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-4)


@needs_timm
@needs_cuda
@pytest.mark.gpu
def test_timm_on_a_gpu_agrees_with_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).eval()
    monkeypatch.setattr(timm, "create_model", lambda *_args, **_options: network)
    features = []
    for device in ("cpu", "cuda"):
        encoder = load_encoder("timm:vit_tiny_patch16_224", device)
        assert encoder.device == device
        features.append(encoder.encode(random_patches(encoder.input_px)))
    np.testing.assert_allclose(features[1], features[0], atol=1e-2)


@needs_timm
def test_an_unknown_timm_model_offers_near_names() -> None:
    with pytest.raises(UnknownNameError) as caught:
        encoder_spec("timm:resnet19")
    assert "resnet18" in str(caught.value.hint)


@needs_open_clip
def test_open_clip_reads_a_file_and_agrees_with_its_own_transform(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-S-32")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = load_encoder(f"open_clip:ViT-S-32/{tmp_path}/weights.pt", "cpu")
    patches = random_patches(encoder.input_px)
    with torch.inference_mode():
        images = torch.stack([transform(Image.fromarray(patch)) for patch in patches])
        expected = model.eval().encode_image(images)
    np.testing.assert_allclose(encoder.encode(patches), expected.numpy(), rtol=1e-4, atol=1e-4)


@needs_open_clip
def test_open_clip_names_are_checked() -> None:
    with pytest.raises(UnknownNameError):
        encoder_spec("open_clip:ViT-S-33/openai")
    with pytest.raises(UsageError, match="does not say which weights"):
        encoder_spec("open_clip:ViT-B-32")
