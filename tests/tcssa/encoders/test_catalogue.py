"""Every entry of the catalogue in its true architecture, with random weights and fewer blocks.

The weights are saved by the original library, called as the authors' pages say; they are read
back by the entry, and its features compared with the original's behind the original's transform.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from optional_packages import needs_timm
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from tcssa.encoders import named_encoder
from tcssa.encoders.base import Encoder
from tcssa.encoders.catalogue import ENTRIES, Entry
from tcssa.errors import CheckpointError
from tcssa_exporters import export_encoder

Original = Callable[[], tuple[nn.Module, Callable[[Tensor], Tensor]]]


def random_patches(side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def shallow(entry: Entry, **fewer: int) -> Entry:
    return replace(entry, build=partial(entry.build, **fewer))


def load(entry: Entry, weights: Path) -> Encoder:
    return named_encoder.spec(entry, weights).load("cpu")


def shaken(network: nn.Module) -> nn.Module:
    """Random everywhere, also where a fresh network is all zeros or ones."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def timm_vit(readout: Callable[[Tensor], Tensor] = lambda x: x, **arguments: Any) -> Original:
    def build() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
        import timm

        swiglu = arguments.pop("swiglu", False)
        if swiglu:
            arguments.update(mlp_layer=timm.layers.SwiGLUPacked, act_layer=nn.SiLU)
        network = timm.create_model(**arguments, pretrained=False)
        return network, lambda pixels: readout(network(pixels))

    return build


def class_and_mean(first: int) -> Callable[[Tensor], Tensor]:
    return lambda tokens: torch.cat([tokens[:, 0], tokens[:, first:].mean(1)], -1)


def kaiko(architecture: str, **more: Any) -> Original:
    return timm_vit(model_name=architecture, num_classes=0, dynamic_img_size=True, depth=2, **more)


OPTIMUS = {"num_classes": 0, "img_size": 224, "global_pool": "token", "init_values": 1e-5}
VIRCHOW = {
    "model_name": "vit_huge_patch14_224", "img_size": 224, "init_values": 1e-5, "num_classes": 0,
    "mlp_ratio": 5.3375, "global_pool": "", "dynamic_img_size": True, "swiglu": True, "depth": 1,
}  # fmt: skip
TIMM_VITS: dict[str, tuple[Original, int]] = {
    "uni_v1": (
        timm_vit(
            model_name="vit_large_patch16_224", img_size=224, patch_size=16, init_values=1e-5,
            num_classes=0, dynamic_img_size=True, depth=2,
        ),
        2,
    ),
    "uni_v2": (
        timm_vit(
            model_name="vit_giant_patch14_224", img_size=224, patch_size=14, depth=1,
            num_heads=24, init_values=1e-5, embed_dim=1536, mlp_ratio=2.66667 * 2, num_classes=0,
            no_embed_class=True, reg_tokens=8, dynamic_img_size=True, swiglu=True,
        ),
        1,
    ),
    "virchow": (timm_vit(class_and_mean(1), **VIRCHOW), 1),
    "virchow2": (timm_vit(class_and_mean(5), **VIRCHOW, reg_tokens=4), 1),
    "gigapath": (
        timm_vit(
            model_name="vit_giant_patch14_dinov2", img_size=224, in_chans=3, patch_size=16,
            embed_dim=1536, depth=1, num_heads=24, mlp_ratio=5.33334, num_classes=0,
        ),
        1,
    ),
    "hoptimus0": (
        timm_vit(
            model_name="vit_giant_patch14_reg4_dinov2", dynamic_img_size=False, depth=1, **OPTIMUS
        ),
        1,
    ),
    "hoptimus1": (
        timm_vit(
            model_name="vit_giant_patch14_reg4_dinov2", dynamic_img_size=False, depth=1, **OPTIMUS
        ),
        1,
    ),
    "kaiko-vits8": (kaiko("vit_small_patch8_224"), 2),
    "kaiko-vits16": (kaiko("vit_small_patch16_224"), 2),
    "kaiko-vitb8": (kaiko("vit_base_patch8_224"), 2),
    "kaiko-vitb16": (kaiko("vit_base_patch16_224"), 2),
    "kaiko-vitl14": (kaiko("vit_large_patch14_reg4_dinov2", img_size=518), 2),
    "lunit-vits8": (kaiko("vit_small_patch8_224"), 2),
}  # fmt: skip


def reference_features(
    entry: Entry, patches: NDArray[np.uint8], forward: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    """Features behind torchvision's transform, as the authors' pages compose it."""
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.Resize(entry.input_px, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(entry.input_px),
            transforms.ToTensor(),
            transforms.Normalize(*entry.pixels),
        ]
    )
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.fromarray(patch)) for patch in patches])
        result: NDArray[np.float32] = forward(pixels).numpy()
    return result


def assert_same_features(entry: Entry, weights: Path, forward: Callable[[Tensor], Tensor]) -> None:
    encoder = load(entry, weights)
    assert (encoder.feature_dim, encoder.input_px) == (entry.feature_dim, entry.input_px)
    patches = random_patches(entry.input_px)
    expected = reference_features(entry, patches, forward)
    features = encoder.encode(patches)
    assert features.shape == (2, entry.feature_dim)
    assert features.dtype == np.float32
    assert expected.std() > 1e-3  # random weights that say nothing would prove nothing
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@needs_timm
@pytest.mark.parametrize("name", TIMM_VITS)
def test_a_vision_transformer_computes_what_its_authors_loading_computes(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    build, depth = TIMM_VITS[name]
    network, forward = build()
    shaken(network)
    path = tmp_path / ENTRIES[name].source.files[0]
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    assert_same_features(shallow(ENTRIES[name], depth=depth), path, forward)


@needs_timm
def test_a_vision_transformer_is_exported(tmp_path: Path) -> None:
    network, _ = TIMM_VITS["kaiko-vits16"][0]()
    save_file(shaken(network).state_dict(), tmp_path / "model.safetensors")
    spec = named_encoder.spec(shallow(ENTRIES["kaiko-vits16"], depth=2), tmp_path)
    made = export_encoder(spec, tmp_path / "out")
    assert max(row.relative for row in made.parity) < 1e-4


@needs_timm
def test_resnet50_ends_after_its_third_stage(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    whole = timm.create_model("resnet50", pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / "model.safetensors")  # with its 1000 classes
    cut = timm.create_model("resnet50", features_only=True, out_indices=[3]).eval()
    cut.load_state_dict(whole.state_dict(), strict=False)
    assert_same_features(ENTRIES["resnet50"], tmp_path, lambda pixels: cut(pixels)[0].mean((2, 3)))


@needs_timm
def test_ctranspath_is_read_under_its_names_of_2021(tmp_path: Path) -> None:
    """Against timm's own conversion of files whose stages end with the merging of patches."""
    import timm
    from timm.models.swin_transformer import checkpoint_filter_fn

    from tcssa.encoders.timm_networks import ConvStem

    torch.manual_seed(0)
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_layer=ConvStem, num_classes=0
    ).eval()
    old = {}
    for name, value in network.state_dict().items():
        stage, _, rest = name.removeprefix("layers.").partition(".")
        if rest.startswith("downsample."):
            name = f"layers.{int(stage) - 1}.{rest}"
        old[name] = value
    assert "layers.0.downsample.reduction.weight" in old
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49).long()
    old["head.weight"], old["head.bias"] = torch.zeros(1000, 768), torch.zeros(1000)
    converted = checkpoint_filter_fn(dict(old), network)
    network.load_state_dict({k: v for k, v in converted.items() if not k.startswith("head.")})
    torch.save({"model": old}, tmp_path / "ctranspath.pth")
    assert_same_features(ENTRIES["ctranspath"], tmp_path / "ctranspath.pth", network)


def attended(tokens: Tensor, query: Tensor, state: dict[str, Tensor], heads: int) -> Tensor:
    """A query's attention over tokens, term by term."""
    q, k, v = query @ state["q"].T, tokens @ state["k"].T, tokens @ state["v"].T
    q, k, v = q + state["q_bias"], k + state["k_bias"], v + state["v_bias"]
    answers = []
    for head in range(heads):
        part = slice(head * q.shape[-1] // heads, (head + 1) * q.shape[-1] // heads)
        scores = q[..., part] @ k[..., part].transpose(-1, -2) / (part.stop - part.start) ** 0.5
        answers.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(answers, -1) @ state["out"].T + state["out_bias"]


@needs_timm
@pytest.mark.parametrize("stored_px", [448, 224])
def test_conch_pools_by_attention_and_leaves_its_text_tower_behind(
    tmp_path: Path, stored_px: int
) -> None:
    from timm.layers import resample_abs_pos_embed
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)

    def trunk(side: int) -> VisionTransformer:
        return VisionTransformer(
            embed_dim=768, depth=1, num_heads=12, mlp_ratio=4, img_size=side, patch_size=16,
            num_classes=0, dynamic_img_size=True,
        ).eval()  # fmt: skip

    stored = shaken(trunk(stored_px))
    attention = shaken(nn.MultiheadAttention(512, 8, kdim=768, vdim=768))
    norms = {name: shaken(nn.LayerNorm(dim)) for name, dim in
             (("attn_pool_contrast.ln_q", 512), ("attn_pool_contrast.ln_k", 768), ("ln_contrast", 512))}  # fmt: skip  # noqa: E501
    query = torch.randn(1, 512)
    state = {f"trunk.{name}": value for name, value in stored.state_dict().items()}
    state |= {f"attn_pool_contrast.attn.{n}": v for n, v in attention.state_dict().items()}
    for prefix, norm in norms.items():
        state |= {f"{prefix}.{name}": value for name, value in norm.state_dict().items()}
    state |= {"attn_pool_contrast.query": query, "proj_contrast": torch.zeros(512, 512)}
    state |= {"attn_pool_caption.query": torch.zeros(256, 768), "ln_caption.bias": torch.zeros(9)}
    saved = {f"module.visual.{name}": value for name, value in state.items()}
    saved |= {"module.text.positional_embedding": torch.zeros(2), "module.logit_scale": query[0, 0]}
    torch.save({"state_dict": saved}, tmp_path / "pytorch_model.bin")

    reference = trunk(448)
    grown = resample_abs_pos_embed(
        stored.pos_embed, (28, 28), num_prefix_tokens=1, interpolation="bilinear", antialias=False
    )
    reference.load_state_dict({**stored.state_dict(), "pos_embed": grown})
    parts = dict(zip("qkv", attention.in_proj_bias.chunk(3), strict=True))
    weights = {
        "q": attention.q_proj_weight, "k": attention.k_proj_weight, "v": attention.v_proj_weight,
        **{f"{name}_bias": bias for name, bias in parts.items()},
        "out": attention.out_proj.weight, "out_bias": attention.out_proj.bias,
    }  # fmt: skip

    def forward(pixels: Tensor) -> Tensor:
        tokens = norms["attn_pool_contrast.ln_k"](reference.forward_features(pixels))
        asked = norms["attn_pool_contrast.ln_q"](query).expand(len(pixels), 1, -1)
        return norms["ln_contrast"](attended(tokens, asked, weights, 8)[:, 0])

    assert_same_features(shallow(ENTRIES["conch_v1"], depth=1), tmp_path, forward)


@needs_timm
@pytest.mark.parametrize("stored_px", [448, 224])
def test_conch_15_enlarges_its_position_embedding_as_the_original_does(
    tmp_path: Path, stored_px: int
) -> None:
    import timm

    torch.manual_seed(0)

    def trunk(side: int) -> Any:
        return timm.create_model(
            "vit_large_patch16_224", num_classes=0, img_size=side, depth=1, init_values=1e-6
        ).eval()

    stored, reference = shaken(trunk(stored_px)), trunk(448)
    positions = stored.pos_embed
    if stored_px != 448:
        grown = nn.functional.interpolate(
            positions[:, 1:].reshape(1, 14, 14, 1024).permute(0, 3, 1, 2),
            scale_factor=(28.1 / 14, 28.1 / 14), mode="bicubic",
        )  # fmt: skip
        grown = grown.permute(0, 2, 3, 1).reshape(1, 784, 1024)
        positions = torch.cat([positions[:, :1], grown], dim=1)
    reference.load_state_dict({**stored.state_dict(), "pos_embed": positions})
    norms = {name: shaken(nn.LayerNorm(dim)) for name, dim in
             (("attn_pool_contrast.ln_q", 768), ("attn_pool_contrast.ln_k", 1024), ("ln_contrast", 768))}  # fmt: skip  # noqa: E501
    shapes = {"query": (1, 768), "to_q.weight": (768, 768), "to_kv.weight": (1536, 1024),
              "to_out.weight": (768, 768)}  # fmt: skip
    pool = {name: torch.randn(shape) * 0.05 for name, shape in shapes.items()}
    state = {f"trunk.{name}": value for name, value in stored.state_dict().items()}
    state |= {f"attn_pool_contrast.{name}": value for name, value in pool.items()}
    for prefix, norm in norms.items():
        state |= {f"{prefix}.{name}": value for name, value in norm.state_dict().items()}
    torch.save(state, tmp_path / "pytorch_model_vision.bin")
    keys, values = pool["to_kv.weight"].chunk(2)
    none = torch.zeros(768)
    weights = {"q": pool["to_q.weight"], "k": keys, "v": values, "out": pool["to_out.weight"],
               "q_bias": none, "k_bias": none, "v_bias": none, "out_bias": none}  # fmt: skip

    def forward(pixels: Tensor) -> Tensor:
        tokens = norms["attn_pool_contrast.ln_k"](reference.forward_features(pixels))
        asked = norms["attn_pool_contrast.ln_q"](pool["query"]).expand(len(pixels), 1, -1)
        return norms["ln_contrast"](attended(tokens, asked, weights, 8)[:, 0])

    assert_same_features(shallow(ENTRIES["conch_v15"], depth=1), tmp_path, forward)


TRANSFORMERS = {
    "phikon": (
        "ViT",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
         "patch_size": 16, "image_size": 224},
    ),
    "phikon_v2": (
        "Dinov2",
        {"hidden_size": 1024, "num_attention_heads": 16, "patch_size": 16, "image_size": 224},
    ),
    "midnight12k": (
        "Dinov2",
        {"hidden_size": 1536, "num_attention_heads": 24, "patch_size": 14, "image_size": 518,
         "use_swiglu_ffn": True},
    ),
    "hibou_l": (
        "Dinov2WithRegisters",
        {"hidden_size": 1024, "num_attention_heads": 16, "patch_size": 14, "image_size": 224,
         "use_swiglu_ffn": True, "num_register_tokens": 4},
    ),
}  # fmt: skip


def transformers_original(name: str) -> Any:
    import transformers

    torch.manual_seed(0)
    kind, config = TRANSFORMERS[name]
    made = getattr(transformers, f"{kind}Config")(num_hidden_layers=1, **config)
    return shaken(getattr(transformers, f"{kind}Model")(made))


def expected_features(name: str, model: Any, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    mean, std = (np.asarray(part, np.float32) for part in ENTRIES[name].pixels)
    pixels = torch.from_numpy(((patches / 255 - mean) / std).astype(np.float32))
    with torch.inference_mode():
        tokens = model(pixel_values=pixels.permute(0, 3, 1, 2)).last_hidden_state
    if name != "midnight12k":
        return np.asarray(tokens[:, 0])
    return np.asarray(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], -1))


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_model_of_transformers_is_read_as_transformers_saved_it(
    name: str, tmp_path: Path, with_config: bool
) -> None:
    model = transformers_original(name)
    model.save_pretrained(tmp_path)
    if not with_config:
        (tmp_path / "config.json").unlink()
    entry = ENTRIES[name] if with_config else shallow(ENTRIES[name], num_hidden_layers=1)
    encoder = load(entry, tmp_path)
    patches = random_patches(224)
    expected = expected_features(name, model, patches)
    features = encoder.encode(patches)
    assert features.shape == (2, ENTRIES[name].feature_dim) == (2, encoder.feature_dim)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_weights_of_another_model_of_transformers_are_refused(tmp_path: Path) -> None:
    transformers_original("phikon_v2").save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match="of another network"):
        load(shallow(ENTRIES["midnight12k"], num_hidden_layers=1), tmp_path)


@needs_timm
def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    import timm

    other = timm.create_model("vit_small_patch16_224", num_classes=0, depth=1)
    torch.save(other.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as caught:
        load(shallow(ENTRIES["uni_v1"], depth=1), tmp_path)
    assert "blocks.0.ls1.gamma" in str(caught.value)  # missing
    assert "another shape" in str(caught.value)


def test_every_entry_says_what_a_user_must_know() -> None:
    for name, entry in ENTRIES.items():
        assert entry.name == name
        assert entry.source.licence
        assert "/" in entry.source.repo
        assert len(entry.pixels[0]) == len(entry.pixels[1]) == 3
        assert all(0.05 <= mpp <= 20 for mpp in entry.trained_mpp)
