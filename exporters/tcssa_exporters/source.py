"""The model to export: a compressor, and the head that uses its slots."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcssa.artefact import What
from tcssa.errors import CheckpointError, UsageError, counted
from tcssa.features.extraction_record import ExtractionRecord
from tcssa.files.checksums import file_sha256
from tcssa.run import COMPRESSOR_FILE, RUN_FILE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tcssa import CompressorConfig, SlotCompressor
    from tcssa.compressor.checkpoint import LoadedCompressor
    from tcssa.mil.calibration.record import Calibration

_VQA_PROJECTOR = "projector.safetensors"


class Member(NamedTuple):
    """One model of an ensemble."""

    compressor: SlotCompressor
    heads: Mapping[str, nn.Module]
    """Modules that take slots [S, K, D], by the name of their output."""


@dataclass(frozen=True)
class ExportSource:
    """A model and its origin; `open_source` makes one from files."""

    compressor: SlotCompressor
    checkpoint_sha256: str
    """Hash of the file that the compressor was loaded from."""
    encoder: str | None = None
    """Encoder of the features it was trained on, if known."""
    extraction: ExtractionRecord = field(default_factory=ExtractionRecord)
    """How these features' patches were made, as far as the run states it."""
    what: What = "compressor"
    heads: Mapping[str, nn.Module] = field(default_factory=dict)
    """Modules that take slots [S, K, D], by the name of their output."""
    classes: list[str] | None = None
    """Classes of a classifier's logits."""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    """Threshold and temperature of a run's classifier."""
    token_dim: int | None = None
    """Length H of a projector's tokens."""
    head_sha256: str | None = None
    """Hash of the projector's file, if it has one of its own."""
    others: tuple[Member, ...] = ()
    """The members of an ensemble after the first, whose outputs are averaged with its own."""
    taken: str | None = None
    """What was taken of a run that has no one final model, in words."""

    @property
    def members(self) -> list[Member]:
        """The models: one, or those of an ensemble."""
        return [Member(self.compressor, self.heads), *self.others]

    @property
    def config(self) -> CompressorConfig:
        """The compressor's configuration; of an ensemble that of all members side by side.

        Its weights hold the members' salience (`tcssa_exporters.ensemble`), and its slots cannot be
        folded into fewer ones.
        """
        config, count = self.compressor.config, len(self.members)
        if count == 1:
            return config
        return config.model_copy(
            update={
                "num_slots": count * config.num_slots,
                "top_k": count * config.top_k,
                "salience": False,
                "nested": False,
            }
        )


def open_source(
    model: Path | str,
    what: What = "compressor",
    *,
    projector: Path | None = None,
    classes: Sequence[str] | None = None,
) -> ExportSource:
    """Load the model to export.

    Args:
        model: A run of train-mil or train-vqa, a fold, a safetensors checkpoint of ours, or the
            reference's ``best_model.pth`` or ``moe_compressor.pt``. Of a run without a final model
            a classifier is the ensemble of its folds, as in ``predict``; anything else is of the
            fold with the lowest validation loss.
        what: ``compressor`` ends with slots, ``classifier`` with logits, ``projector`` with tokens
            of a language model.
        projector: The projector's file; None takes the one of the train-vqa run.
        classes: Names of a reference checkpoint's classes, which the file does not give; by
            default ``class 0`` and so on.

    Raises:
        CheckpointError: A file is missing, broken, or does not hold the model asked for.
        RunError: The run is not finished.
        UsageError: An argument has no meaning for ``what`` or the checkpoint, ``classes`` has the
            wrong length, there is no projector, the model does not end with logits of classes, or
            a run of train-vqa has no slots.
    """
    from tcssa.compressor import open_checkpoint
    from tcssa.hub import local_model
    from tcssa.mil.results.finished import FINAL_FOLDER
    from tcssa.mil.results.metrics_file import read_metrics

    model = local_model(model)
    if projector is not None and what != "projector":
        raise UsageError("--projector has a meaning only with --what projector")
    if classes and what != "classifier":
        raise UsageError("--class has a meaning only with --what classifier")
    run_of_vqa = (model / _VQA_PROJECTOR).is_file()
    if run_of_vqa:
        _require_slots(model)
    loaded = open_checkpoint(model / COMPRESSOR_FILE if run_of_vqa else model)
    # of a run without a final model a fold stands for it
    is_fold = loaded.path.parent.parent == model and loaded.path.parent.name != FINAL_FOLDER
    if what == "classifier":
        source = _classifier(loaded, list(classes or []))
        if (model / RUN_FILE).is_file():  # what is exported is what predicts new slides
            source = replace(source, calibration=read_metrics(model).calibration)
        return _ensemble(source, model) if is_fold else source
    if what == "projector":
        return _projector(loaded, projector or (model / _VQA_PROJECTOR if run_of_vqa else None))
    taken = None
    if is_fold:
        taken = (
            f"{model} has no final model: this is the compressor of {loaded.path.parent.name}, the "
            "fold with the lowest validation loss (slots of several models have no mean)"
        )
    return ExportSource(loaded.model, loaded.sha256, loaded.encoder, loaded.extraction, taken=taken)


def _require_slots(run: Path) -> None:
    """Refuse a run of train-vqa that has no compressor."""
    if not (run / COMPRESSOR_FILE).is_file():
        raise UsageError(
            f"{run} is a run of train-vqa whose visual encoder makes no slots: there is "
            "nothing to export",
            hint="give a run of --visual tcssa",
        )


def _ensemble(first: ExportSource, run: Path) -> ExportSource:
    """Return the ensemble of a run's folds, in their order.

    Raises:
        CheckpointError: A fold's checkpoint is missing or damaged, or not of the others' shape.
    """
    from tcssa.compressor.checkpoint import require_fit
    from tcssa.mil.classifier.final_model import fold_checkpoints
    from tcssa.mil.classifier.slide_classifier import SlideClassifier
    from tcssa.mil.results.finished import read_finished

    folds = fold_checkpoints(read_finished(run))
    models = [SlideClassifier.load(path) for path in folds]
    for path, model in zip(folds, models, strict=True):
        require_fit(models[0].state_dict(), model.state_dict(), path)
    members = [Member(model.compressor, {"logits": model.head}) for model in models]
    hashes = " ".join(file_sha256(path) for path in folds)
    return replace(
        first,
        compressor=members[0].compressor,
        heads=members[0].heads,
        checkpoint_sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        others=tuple(members[1:]),
        taken=f"the mean of {counted(len(folds), 'fold')}, which predict and eval take too; for "
        f"one fold alone give {folds[0].parent}",
    )


def _classifier(loaded: LoadedCompressor, classes: list[str]) -> ExportSource:
    from tcssa.compressor.reference import read_state
    from tcssa.mil.classifier.slide_classifier import SlideClassifier

    if loaded.path.suffix == ".safetensors":
        model = SlideClassifier.load(loaded.path)
        if classes:
            raise UsageError(
                f"{loaded.path} names its classes: {', '.join(model.config.classes)}",
                hint="leave --class out",
            )
    else:
        state, _ = read_state(loaded.path)
        model = SlideClassifier.from_reference_state(
            state, _reference_classes(state, classes, loaded.path), loaded.path
        )
    if model.config.task is not None:
        raise UsageError(
            f"{loaded.path} learnt labels of kind {model.task.kind}; artefacts end with logits "
            "of classes only",
            hint="leave --what classifier out: slots are exported whatever was learnt",
        )
    return ExportSource(
        compressor=loaded.model,  # it knows the reference's top_k, which the state does not hold
        checkpoint_sha256=loaded.sha256,
        encoder=loaded.encoder,
        extraction=loaded.extraction,
        what="classifier",
        heads={"logits": model.head},
        classes=model.config.classes,
    )


def _reference_classes(state: Mapping[str, Tensor], given: list[str], path: Path) -> list[str]:
    bias = state.get("classifier.4.bias")
    if bias is None or bias.dim() != 1:
        raise CheckpointError(
            path,
            "holds no slide classifier (no classifier.4.bias)",
            hint="give the reference's best_model.pth or a run of tcssa train-mil, or leave "
            "--what classifier out",
        )
    count = len(bias)
    if given and len(given) != count:
        raise UsageError(f"{path} has {count} classes, --class names {len(given)}")
    return given or [f"class {index}" for index in range(count)]


def _projector(loaded: LoadedCompressor, path: Path | None) -> ExportSource:
    from tcssa.vqa.model.projector import Projector

    if path is None:
        raise UsageError(
            f"{loaded.path} comes with no projector",
            hint="name its file: --projector projector.pt, or give a run of tcssa train-vqa",
        )
    if not path.is_file():
        raise CheckpointError(path, "there is no such file")
    projector = Projector.load(path)
    if projector.config.feature_dim != loaded.model.config.feature_dim:
        raise CheckpointError(
            path,
            f"projects slots of D = {projector.config.feature_dim}, the compressor of "
            f"{loaded.path} makes D = {loaded.model.config.feature_dim}",
            hint="give the pair that was trained together",
        )
    return ExportSource(
        compressor=loaded.model,
        checkpoint_sha256=loaded.sha256,
        encoder=loaded.encoder,
        extraction=loaded.extraction,
        what="projector",
        heads={"tokens": projector},
        token_dim=projector.config.token_dim,
        head_sha256=file_sha256(path),
    )
