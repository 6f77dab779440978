"""Slide classifiers by name: built for a cohort, saved, loaded, or started from given weights.

TC-SSA has settings and a checkpoint format of its own (`tcssa.mil.classifier.slide_classifier`),
from which the compressor can be read; all other methods share one format: their weights and the
name they were built by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tcssa.compressor import CompressorConfig, SlotCompressor
from tcssa.compressor.checkpoint import load_strictly, read_tensors, require_fit, write_tensors
from tcssa.compressor.reference import read_state
from tcssa.errors import CheckpointError, UsageError
from tcssa.files.boundary import reading
from tcssa.files.text import validated
from tcssa.mil.classifier.slide_classifier import MAX_OUTPUTS, ClassifierConfig, SlideClassifier
from tcssa.mil.methods import METHODS, BagClassifier, build_method
from tcssa.mil.methods.published import from_published
from tcssa.mil.settings import MODEL_OPTION, ModelSettings
from tcssa.mil.tasks import MilTask
from tcssa.mil.tasks.serialization import is_plain, named_task, task_facts
from tcssa.plugins import is_imported, require_told

TCSSA = "tcssa"


class MethodFacts(BaseModel):
    """Metadata that the checkpoint of a method holds beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    feature_dim: int = Field(ge=1)
    classes: list[str] = Field(max_length=MAX_OUTPUTS)
    """What each output stands for."""
    encoder: str | None
    task: dict[str, Any] | None = None  # the facts of a task; each kind has its own
    """The task (`MilTask.facts`), if it is not plain classes."""


def build_classifier(
    settings: ModelSettings, feature_dim: int, task: MilTask, encoder: str | None
) -> BagClassifier:
    """Build a classifier with fresh weights, or with those that the settings start from.

    Args:
        settings: The method and its shape.
        feature_dim: D of the cohort's features.
        task: The kind of label to learn.
        encoder: Encoder of the features, if known.

    Raises:
        UnknownNameError: There is no such method.
        UsageError: The method learns classes only, and the labels are of another kind.
        CheckpointError: The weights to start from do not fit the model.
    """
    if settings.name == TCSSA:
        model: BagClassifier = _build_tcssa(settings, feature_dim, task, encoder)
    else:
        model = build_method(settings.name, feature_dim, len(task.outputs))
    _require_learnable(model, settings.name, task)
    model.task = task
    if settings.init is not None:
        _start_from(model, settings.name, settings.init)
    return model


def require_learnable(name: str, feature_dim: int, task: MilTask, *, weighed: bool = False) -> None:
    """Check, before anything is written, that a method can learn this kind of label.

    Args:
        name: The method.
        feature_dim: D of the cohort's features.
        task: The kind of label to learn.
        weighed: Whether classes have weights in the loss.

    Raises:
        UsageError: There is no such method; it learns classes only, and the labels are of another
            kind; or its loss does not know the weights.
    """
    if name != TCSSA:
        model = build_method(name, feature_dim, len(task.outputs))  # an unknown name is an error
        _require_learnable(model, name, task)
        if weighed and not model.weighs_classes:
            raise UsageError(
                f"{name} has a loss of its own, in which --class-weights has no part",
                hint="leave it out; --balanced-sampling draws rare classes more often",
            )


def _require_learnable(model: BagClassifier, name: str, task: MilTask) -> None:
    if model.only_classes and not is_plain(task):
        raise UsageError(
            f"{name} has a loss of classes and cannot learn labels of kind {task.kind}",
            hint="take another --model, such as tcssa or abmil",
        )


def save_classifier(model: BagClassifier, path: Path, facts: MethodFacts) -> None:
    """Write a classifier as one safetensors file, atomically.

    Args:
        model: The classifier.
        path: The checkpoint.
        facts: Metadata of the method; TC-SSA's own checkpoint has other metadata and ignores it.
    """
    if isinstance(model, SlideClassifier):
        model.save(path)
    else:
        without = {"task"} if facts.task is None else None
        write_tensors(path, model.state_dict(), {"method": facts.model_dump(exclude=without)})


def load_classifier(path: Path, model: str | None = None) -> BagClassifier:
    """Read what `save_classifier` wrote; in evaluation mode, on the CPU.

    Args:
        path: The checkpoint.
        model: The method as the user names it; required for a checkpoint of ``module:factory``,
            because code is not imported on the word of a file alone.

    Raises:
        CheckpointError: The file is broken or holds no classifier, or its method is the user's own
            code and ``model`` does not name it.
        UsageError: The method is the user's own code and cannot be imported here.
    """
    tensors, facts = read_tensors(path)
    if "method" not in facts:
        return SlideClassifier.load(path)
    method = validated(facts["method"], path, CheckpointError, MethodFacts)
    if is_imported(method.name):
        require_told(method.name, model, path, MODEL_OPTION, CheckpointError)
    elif method.name not in METHODS:
        raise CheckpointError(
            path, f"is of a method {method.name!r:.60}, which this tcssa does not know"
        )
    with reading(path, CheckpointError):
        task = named_task(method.task, method.classes)

    def build() -> BagClassifier:
        return build_method(method.name, method.feature_dim, len(method.classes))

    if is_imported(method.name):  # a user's factory need not work without allocating memory
        classifier = build()
        _load(classifier, tensors, path)
    else:
        classifier = load_strictly(build, tensors, path)
    classifier.task = task
    return classifier.eval()


def _build_tcssa(
    settings: ModelSettings, feature_dim: int, task: MilTask, encoder: str | None
) -> SlideClassifier:
    embed_dim = settings.embed_dim
    shape = CompressorConfig(
        feature_dim=embed_dim or feature_dim,
        embedded_from=feature_dim if embed_dim else None,
        num_slots=settings.num_slots,
        top_k=settings.top_k,
        hidden_dim=settings.hidden_dim,
        dropout=settings.dropout,
        noise_std=settings.noise_std,
        salience=settings.salience,
        nested=settings.nested,
        spatial=settings.spatial is not None,
    )
    head = ClassifierConfig(
        classes=task.outputs,
        head_dim=settings.head_dim,
        dropout=settings.head_dropout,
        pool=settings.pool,
        encoder=encoder,
        task=task_facts(task).get("task"),
    )
    compressor = SlotCompressor(shape)
    nn.init.constant_(compressor.experts.norm_weight, settings.expert_gain)
    return SlideClassifier(compressor, head)


def _start_from(model: BagClassifier, name: str, path: Path) -> None:
    """Load weights of tcssa, or of a published implementation, into a model.

    Raises:
        CheckpointError: The weights are of another method or shape.
    """
    pool = "mean"  # the reference's
    if path.suffix == ".safetensors":
        state, facts = read_tensors(path)
        if "classifier" in facts:
            pool = validated(facts["classifier"], path, CheckpointError, ClassifierConfig).pool
        elif "method" not in facts:
            state = from_published(name, state, path)
    else:
        published, _ = read_state(path)
        if isinstance(model, SlideClassifier):
            classes = model.config.classes
            state = SlideClassifier.from_reference_state(published, classes, path).state_dict()
        else:
            state = from_published(name, published, path)
    if isinstance(model, SlideClassifier) and model.config.pool != pool:
        raise CheckpointError(
            path,
            f"its slots are pooled by {pool}, those of this model by {model.config.pool}",
            hint=f"give --pool {pool}, or --recipe paper for weights of the reference",
        )
    if isinstance(model, SlideClassifier):
        _require_same_embedding(model, state, path)
        _require_same_head(model, state, path)
    _load(model, state, path)


def _require_same_embedding(
    model: SlideClassifier, state: Mapping[str, Tensor], path: Path
) -> None:
    """Require weights to embed patches as the model does, whose other tensors differ otherwise."""
    config = model.compressor.config
    wanted = 0 if config.embedded_from is None else config.feature_dim
    bias = state.get("compressor.embed.bias")
    found = 0 if bias is None else bias.numel()
    if found != wanted:
        of_each = [f"to {width} numbers" if width else "not at all" for width in (found, wanted)]
        raise CheckpointError(
            path,
            f"it embeds patches {of_each[0]}, this model {of_each[1]}",
            hint=f"give --embed-dim {found}"
            + ("" if found else ", or --recipe paper for weights of the reference"),
        )


def _require_same_head(model: SlideClassifier, state: Mapping[str, Tensor], path: Path) -> None:
    """Require weights of a head as wide as the model's, or of a linear one as well."""
    bias = state.get("head.hidden.bias")
    found, wanted = 0 if bias is None else bias.numel(), model.config.head_dim
    if found != wanted:
        of_each = [f"of width {width}" if width else "linear" for width in (found, wanted)]
        raise CheckpointError(
            path,
            f"its head is {of_each[0]}, this model's {of_each[1]}",
            hint=f"give --head-dim {found}",
        )


def _load(model: BagClassifier, state: Mapping[str, Tensor], path: Path) -> None:
    require_fit(model.state_dict(), state, path)
    model.load_state_dict(state)
