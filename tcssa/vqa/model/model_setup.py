"""Parts of a training, put together: visual encoder, projector, language model and prompts.

A training begins with fresh parts, or with those of a run: stage 2 with stage 1's projector, and
the same compressor and language model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tcssa.compressor import CompressorConfig, SlotCompressor
from tcssa.compressor.checkpoint import LoadedCompressor, open_checkpoint
from tcssa.compressor.prototypes import MAX_PATCHES, begin_at
from tcssa.errors import FileError, NonFiniteFeatureError, UsageError
from tcssa.features import find_all_bags, open_bag, read_features
from tcssa.files.checksums import params_hash
from tcssa.vqa.model.llm import DTYPES, LoadedLLM, load_llm
from tcssa.vqa.model.lora import add_lora
from tcssa.vqa.model.merging import require_merging
from tcssa.vqa.model.model import SlideLanguageModel
from tcssa.vqa.model.projector import Projector, ProjectorConfig
from tcssa.vqa.model.run import load_vqa, save_vqa
from tcssa.vqa.model.visual_encoder import VisualConfig, VisualEncoder
from tcssa.vqa.model.visual_encoders import build_visual
from tcssa.vqa.prompts.prompt import PromptBuilder
from tcssa.vqa.prompts.template import ChatTemplate
from tcssa.vqa.settings import VqaSettings

_HIDDEN_DIM = 16
"""Hidden width of the experts of a compressor that is made here, as in train-mil."""


@dataclass(frozen=True)
class Parts:
    """A model to train, its trainable parts marked, and where it came from."""

    model: SlideLanguageModel
    prompts: PromptBuilder
    llm: LoadedLLM
    settings: VqaSettings
    encoder: str | None
    """Encoder of the features, where the compressor, the run or the features name it."""
    compressor_sha256: str | None
    from_fingerprint: str | None
    """Fingerprint of the run that it starts from."""

    @property
    def pad_id(self) -> int:
        """A token to pad with."""
        return self.prompts.pad_token_id

    @property
    def caches_tokens(self) -> bool:
        """True if a slide's visual tokens never change and are to be made once."""
        trains = any(parameter.requires_grad for parameter in self.model.visual.parameters())
        return self.settings.visual.use_slot_cache and not trains

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this starting point from another."""
        return {
            "llm_sha256": self.llm.sha256,
            "compressor_sha256": self.compressor_sha256,
            "from_run": self.from_fingerprint,
            "template": params_hash(self.prompts.template.model_dump()),
        }

    def save(self, out: Path, settings: VqaSettings) -> None:
        """Write the model into its run directory.

        Args:
            out: The run directory.
            settings: Settings of the training.
        """
        save_vqa(
            out,
            self.model,
            self.prompts,
            self.llm,
            stage=settings.train.stage,
            encoder=self.encoder,
            trust_remote_code=settings.llm.trust_remote_code,
            quantize=settings.llm.quantize,
            several=settings.corpus.several,
        )


def load_parts(settings: VqaSettings, device: torch.device) -> Parts:
    """Load, or make, what is to be trained.

    Args:
        settings: Settings of the training, complete.
        device: Where it trains.

    Raises:
        UsageError: The run to start from was made for another visual encoder or model, or slides
            are to be merged whose tokens do not add up.
        LlmError: The language model is not found.
        CheckpointError: The compressor cannot be read.
        RunError: The run to start from is not finished, or broken.
    """
    seed = params_hash({"seed": settings.train.seed, "purpose": "weights"})
    torch.manual_seed(int(seed[:15], 16))
    # quantised weights stay where they were made; others are drawn and put together on the CPU
    place = device if settings.llm.quantize else torch.device("cpu")
    make = _continued if settings.train.from_run else _fresh
    parts = make(settings, place)
    model, options = parts.model, settings.train
    if settings.corpus.several == "merge":
        require_merging(model.visual)
    if model.visual.reads_coords:
        _require_cache(settings)
    if options.stage == 2 and not model.has_lora:
        model.llm = add_lora(model.llm, settings.lora)
    model.set_trainable(
        options.stage,
        train_compressor=options.train_compressor,
        train_projector=options.train_projector,
    )
    model.to(device)
    return parts


def _fresh(settings: VqaSettings, place: torch.device) -> Parts:
    """Put a new projector between a visual encoder and a language model."""
    options = settings.llm
    llm = load_llm(
        options.llm,
        allow_hub=options.allow_hub,
        trust_remote_code=options.trust_remote_code,
        dtype=DTYPES[settings.train.precision],
        device=place,
        quantize=options.quantize,
        attention=options.attention,
    )
    prompts = PromptBuilder(llm.tokenizer, ChatTemplate.of(llm.tokenizer), options.system)
    source = None
    if settings.visual.kind == "tcssa" and settings.visual.compressor is not None:
        source = open_checkpoint(settings.visual.compressor)
    feature_dim, encoder = _of_features(settings)
    visual = _visual(settings, source, feature_dim)
    width = llm.model.get_input_embeddings().weight.shape[1]
    projector = Projector(
        ProjectorConfig(
            feature_dim=visual.feature_dim,
            hidden_dim=settings.visual.projector_dim,
            token_dim=width,
        )
    )
    if source is not None and source.encoder and encoder and source.encoder != encoder:
        raise UsageError(
            f"the compressor was trained on features of {source.encoder!r}, these are of "
            f"{encoder!r}",
            hint=f"extract the slides with --encoder {source.encoder}",
        )
    return Parts(
        SlideLanguageModel(visual, projector, llm.model, prompts.image_token_id),
        prompts,
        llm,
        settings,
        (source.encoder if source else None) or encoder,
        source.sha256 if source else None,
        None,
    )


def _continued(settings: VqaSettings, place: torch.device) -> Parts:
    """Load the parts of the run that training starts from."""
    assert settings.train.from_run is not None
    loaded = load_vqa(
        settings.train.from_run,
        llm=settings.llm.llm,
        allow_hub=settings.llm.allow_hub,
        trust_remote_code=settings.llm.trust_remote_code,
        device=place,
        dtype=DTYPES[settings.train.precision],
        attention=settings.llm.attention,
    )
    kind = loaded.settings.visual.kind
    if kind != settings.visual.kind:
        raise UsageError(
            f"{settings.train.from_run} was trained with --visual {kind}, not "
            f"{settings.visual.kind}",
            hint="leave --visual out: the run says it",
        )
    return Parts(
        loaded.model,
        loaded.prompts,
        loaded.llm,
        settings,
        loaded.settings.encoder,
        None,
        loaded.fingerprint(),
    )


def _visual(
    settings: VqaSettings, source: LoadedCompressor | None, feature_dim: int
) -> VisualEncoder:
    options = settings.visual
    if options.kind == "tcssa":
        compressor = _begun(settings, feature_dim) if source is None else source.model
        return build_visual(VisualConfig(kind="tcssa", budget=options.budget), compressor)
    config = VisualConfig(
        kind=options.kind,
        feature_dim=feature_dim,
        num_tokens=options.num_tokens,
        max_patches=options.max_patches,
    )
    return build_visual(config)


def _require_cache(settings: VqaSettings) -> None:
    """Require that tokens that depend on places are made once, where coords are read.

    Raises:
        UsageError: The compressor is to train, or the tokens are not to be kept.
    """
    if settings.train.train_compressor:
        raise UsageError(
            "a compressor with places does not train together with the language model",
            hint="leave --train-compressor out, or give a compressor without --spatial",
        )
    if not settings.visual.use_slot_cache:
        raise UsageError(
            "visual tokens that depend on where patches lie are made once and kept",
            hint="leave use_slot_cache on",
        )


def _begun(settings: VqaSettings, feature_dim: int) -> SlotCompressor:
    """Make a compressor whose slots begin as means of patches near prototypes.

    The prototypes are of all slides that have features, an equal number of patches of each; a file
    that cannot be read is skipped here, and reported where the rows are read.

    Raises:
        UsageError: The slides have fewer patches that differ than there are slots.
    """
    config = CompressorConfig(
        feature_dim=feature_dim,
        num_slots=settings.visual.num_tokens,
        hidden_dim=_HIDDEN_DIM,
        salience=True,
    )
    compressor = SlotCompressor(config)
    nn.init.zeros_(compressor.experts.norm_weight)
    paths = find_all_bags(settings.corpus.features)
    rng = np.random.default_rng(settings.train.seed)
    patches = []
    for path in paths:
        try:
            features = read_features(path, feature_dim)
        except (FileError, NonFiniteFeatureError):  # an empty one of another tool has no D
            continue
        chosen = rng.permutation(len(features))[: max(1, MAX_PATCHES // len(paths))]
        patches.append(torch.from_numpy(features[np.sort(chosen)]).float())
    seed = settings.train.seed
    if not patches or begin_at(compressor, torch.cat(patches), seed) is None:
        raise UsageError(
            f"the slides have fewer than {config.num_slots} patches that differ, of which slots "
            "could begin",
            hint="lower --num-tokens",
        )
    return compressor.eval()


def _of_features(settings: VqaSettings) -> tuple[int, str | None]:
    """Return D and encoder of the first feature file that holds a patch.

    Raises:
        UsageError: No feature file holds a patch.
    """
    for path in find_all_bags(settings.corpus.features):
        with suppress(FileError), open_bag(path) as bag:  # reported where the rows are read
            if bag.num_patches:
                return bag.feature_dim, bag.encoder
    places = ", ".join(map(str, settings.corpus.features))
    raise UsageError(f"{places} holds no patch", hint="extract the slides first")
