"""Settings of `tcssa train-mil`. Imports nothing slow, as the command line reads its help here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tcssa.budgets import SMALLEST, budgets_of
from tcssa.config.recipes import RecipeName, recipe_settings
from tcssa.config.settings import Section, absolute, section_of
from tcssa.hub import is_hub_address
from tcssa.mil.calibration.rule import YOUDEN, ThresholdRule
from tcssa.plugins import OnlyByUser, is_imported

MODEL_OPTION = "--model"


class CohortSettings(Section):
    """The slides of a run and their labels."""

    labels: Path | None = Field(
        default=None,
        description="Label table (CSV, TSV or XLSX): slide_id, label, and case_id if known.",
    )
    patients: Path | None = Field(
        default=None,
        description="Label table with one row a patient, in place of --labels; --slide-table has "
        "their slides.",
    )
    slide_table: Path | None = Field(
        default=None, description="Table of each patient's slides, where labels are of patients."
    )
    features: Path | None = Field(
        default=None, description="Folder of patch features, one file a slide, or a job folder."
    )
    unit: Literal["slide", "case"] = Field(
        default="slide",
        description="What one bag is: a slide, or all slides of a patient (case), whose labels "
        "must agree.",
    )
    kind: Literal["classes", "ordinal", "regression", "survival"] = Field(
        default="classes",
        description="What a label is: one of several classes, one of several grades in order, a "
        "number, or the time to an event that is censored for some.",
    )
    label_column: str | None = Field(
        default=None, description="Column of the label. [default: label]"
    )
    targets: list[str] = Field(
        default=[],
        description="Column of one of several labels that one model learns together; repeat it. "
        "COLUMN=regression (or =ordinal, =classes) if its kind is not --kind. Empty cells are "
        "unknown.",
    )
    time_column: str | None = Field(
        default=None,
        description="Column of the time to the event. [default: a usual name]",
    )
    event_column: str | None = Field(
        default=None,
        description="Column of the event: 1 if it happened, 0 if censored; the other way round if "
        "its name says censored. [default: a usual name]",
    )
    censorship_column: str | None = Field(
        default=None, description="Column of censorship: 0 if the event happened, 1 if censored."
    )
    time_spans: int = Field(
        default=4, ge=2, description="Number of time spans for which survival is predicted."
    )
    slide_column: str | None = Field(
        default=None, description="Column of the slide. [default: slide_id or a usual name]"
    )
    case_column: str | None = Field(
        default=None, description="Column of the patient. [default: case_id or a usual name]"
    )
    classes: list[str] | None = Field(
        default=None,
        description="Class or grade; repeat it, in order. Another label is an error, or left out "
        "with --skip-missing. [default: all labels that occur]",
    )
    label_names: dict[str, str] = Field(
        default={}, description="Other names for labels in the table, such as 0: LUAD, 1: LUSC."
    )
    skip_missing: bool = Field(
        default=False,
        description="Leave out slides without features, patches or a label, and those of a class "
        "that --class does not name; all are named.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_patients(cls, values: Any) -> Any:  # whatever is validated
        """Take the table of patients for the one of labels, which it is.

        Raises:
            ValueError: Both are given.
        """
        if not isinstance(values, dict) or not values.get("patients"):
            return values
        if values.get("labels"):
            raise ValueError("labels and patients are both given, and both are tables of labels")
        return {**values, "labels": values["patients"], "patients": None}


class ModelSettings(Section):
    """The method, and the shape of TC-SSA's compressor and head."""

    name: Annotated[str, OnlyByUser(MODEL_OPTION, is_imported)] = Field(
        default="tcssa",
        description="Method: tcssa, 2dmamba, abmil, abmilx, clam_mb, clam_sb, dsmil, max, mean, "
        "rrt, transmil, or module:factory of your own. The others here are for tcssa only.",
    )
    init: Annotated[Path | None, OnlyByUser("--init", is_hub_address)] = Field(
        default=None,
        description="Weights to start from: a checkpoint of tcssa, or of a published "
        "implementation of the method; or a run on the hub, hf:OWNER/NAME.",
    )
    embed_dim: int = Field(
        default=0,
        ge=0,
        description="Width of a learned embedding of the patches (linear, ReLU) before the gate, "
        "and so of slots; 0 has none, as the paper.",
    )
    num_slots: int = Field(default=32, ge=2, description="Number K of slots per slide.")
    top_k: int = Field(default=2, ge=1, description="Slots that every patch is routed to.")
    hidden_dim: int = Field(
        default=16, ge=1, description="Hidden width of a slot's expert; the paper's is 512."
    )
    expert_gain: float = Field(
        default=0.0,
        ge=0,
        description="Gain of the experts' normalisation at the start: with 0 a slot begins as the "
        "mean of its patches; the paper's is 1.",
    )
    salience: bool = Field(
        default=True,
        description="Learn how much each patch counts, which the paper does not.",
    )
    prototypes: bool = Field(
        default=True,
        description="Start the gate from k-means of training patches; the paper starts it at "
        "random.",
    )
    nested: bool = Field(
        default=False,
        description="Also learn to work with fewer slots (a half, a quarter, … of them, drawn in "
        "every step), for encode --budget.",
    )
    spatial: Literal["moments"] | None = Field(
        default=None,
        description="Tell slots where their patches lie, by moments of the coordinates, which must "
        "be known in µm.",
    )
    dropout: float = Field(default=0.25, ge=0, lt=1, description="Dropout inside the experts.")
    noise_std: float = Field(default=0.1, ge=0, description="Noise on the gate in training.")
    pool: Literal["mean", "mass", "attention", "max"] = Field(
        default="mass",
        description="How slots become one vector: their mean (the paper), weighted by mass, by "
        "attention, or their max.",
    )
    head_dim: int = Field(
        default=512,
        ge=0,
        description="Hidden width of the classifier; 0 makes it linear. The paper's is 512.",
    )
    head_dropout: float = Field(default=0.3, ge=0, lt=1, description="Dropout in the classifier.")

    @model_validator(mode="after")
    def _require_nestable(self) -> Self:
        """Refuse nested slots that are not pooled by mass, or too few of them to be halved."""
        if self.nested and self.pool != "mass":
            raise ValueError(f"nested slots are pooled by mass, not by {self.pool}")
        if self.nested and len(budgets_of(self.num_slots)) == 1:
            raise ValueError(
                f"{self.num_slots} slots cannot be halved to {SMALLEST} or more, which nested needs"
            )
        return self


class SplitSettings(Section):
    """The division into training, validation and test parts, for ``train.folds`` folds."""

    files: Path | None = Field(
        default=None,
        description="Official splits: CLAM's folder of splits_0.csv …, a table with columns "
        "fold_0 … or split, or a folder with train, val and test tables.",
    )
    scheme: Literal["kfold", "monte-carlo"] = Field(
        default="kfold",
        description="kfold tests every slide once a repeat; monte-carlo draws a new test part "
        "for every fold.",
    )
    group_by: Literal["patient", "site"] = Field(
        default="patient",
        description="Unit that is never split between training, validation and test; a site's "
        "patients stay together too.",
    )
    repeats: int = Field(
        default=1, ge=1, description="Number of times that kfold is repeated with another division."
    )
    test_share: float = Field(
        default=0.2, gt=0, le=0.5, description="Share of slides tested in a monte-carlo fold."
    )
    val_share: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        description="Share of slides for validation, with monte-carlo and where official splits "
        "have no validation part.",
    )


class TrainSettings(Section):
    """The training of the model."""

    epochs: int = Field(default=40, ge=1, description="Largest number of epochs of a fold.")
    patience: int = Field(
        default=10, ge=1, description="Epochs without a better validation loss before stopping."
    )
    average: int = Field(
        default=3,
        ge=1,
        description="Epochs whose weights are averaged; the average is what is validated and kept.",
    )
    lr: float = Field(default=1e-3, gt=0, description="Peak learning rate of AdamW.")
    salience_pace: float = Field(
        default=1.0, gt=0, description="Factor on the learning rate of the salience of patches."
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="Weight decay of AdamW.")
    batch_size: int = Field(default=8, ge=1, description="Slides in one optimiser step.")
    aux_weight: float = Field(
        default=0.1, ge=0, description="Weight λ of the Semantic Affinity Clustering loss."
    )
    balanced_sampling: bool = Field(
        default=False,
        description="Draw the slides of an epoch so that all classes are equally frequent.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        default="none",
        description="Weights of classes in the loss: none, or balanced, by which all classes weigh "
        "the same however rare.",
    )
    threshold: str = Field(
        default=YOUDEN,
        description="Of two classes, the probability from which a slide counts as of the second: "
        "chosen on validation slides by Youden's index (youden) or for a wanted sensitivity "
        "(sensitivity=0.95), or given (0.5).",
    )
    folds: int = Field(
        default=5, ge=3, description="Folds of the cross-validation, split by patient."
    )
    seed: int = Field(default=0, ge=0, description="Seed of splits, weights, noise and dropout.")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32",
        description="Number format of pooling; the gate and the experts of tcssa stay fp32.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Where to train; auto takes a GPU if there is one."
    )
    cache_gb: float = Field(
        default=4.0, ge=0, description="Memory for features kept between epochs, in GB."
    )
    feature_cache: Path | None = Field(
        default=None,
        description="Folder where the cohort's features are packed once as float16; folds, sweeps "
        "and later runs share it.",
    )
    readers: int = Field(default=2, ge=1, description="Threads that read features ahead.")
    final: Literal["refit", "ensemble", "none"] = Field(
        default="refit",
        description="The model that export, encode, predict and eval on new slides use: refit "
        "trains once more on all patients, ensemble takes the mean of the folds, none the fold of "
        "the lowest validation loss.",
    )
    keep: Literal["all", "final"] = Field(
        default="all",
        description="Weights that stay: those of all folds, or of the final model alone. eval and "
        "inspect slots predict test slides with the folds'.",
    )
    checkpoint_every_s: float = Field(
        default=120.0, ge=0, description="Seconds between checkpoints that a killed run resumes at."
    )

    @field_validator("threshold", mode="before")
    @classmethod
    def _require_rule(cls, value: Any) -> str:  # a file may hold a number
        """Refuse a threshold that is neither a rule nor a probability."""
        ThresholdRule.parse(str(value))
        return str(value)

    @model_validator(mode="after")
    def _require_balanced_once(self) -> Self:
        """Refuse to make rare classes count more in two ways at once."""
        if self.balanced_sampling and self.class_weights == "balanced":
            raise ValueError(
                "balanced sampling and balanced class weights both make classes count alike: "
                "choose one"
            )
        return self


class MilSettings(Section):
    """All settings that define a run of `tcssa train-mil`."""

    dataset: str | None = Field(
        default=None, description="Preset to start from; tcssa presets lists them."
    )
    recipe: RecipeName = Field(
        default="salient",
        description="Defaults to start from: salient, paper (the published model exactly), or raw "
        "(salient, for features that no encoder made).",
    )
    cohort: CohortSettings = CohortSettings()
    model: ModelSettings = ModelSettings()
    split: SplitSettings = SplitSettings()
    train: TrainSettings = TrainSettings()

    @model_validator(mode="after")
    def _require_kept(self) -> Self:
        """Refuse to keep the final model alone where the folds are the final model."""
        if self.train.keep == "final" and self.train.final != "refit":
            raise ValueError(f"keep final removes the folds, which final {self.train.final} uses")
        return self

    @model_validator(mode="before")
    @classmethod
    def _on_recipe(cls, values: Any) -> Any:  # whatever is validated
        """Fill settings that are not given from the recipe that is named."""
        if not isinstance(values, dict) or not values.get("recipe"):
            return values
        laid = dict(values)
        for section, settings in recipe_settings(str(values["recipe"])).items():
            given = laid.get(section, {})
            if isinstance(given, Section):
                given = given.model_dump(exclude_unset=True)
            laid[section] = {**settings, **given} if isinstance(given, dict) else given
        return laid

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """See `Section.completed`.

        Runs made before recipes existed used the paper's; those that had the choice of an embedding
        and stated none had none.
        """
        train = {"final": "none", **section_of(values, "train")}  # older runs have no final model
        train.pop("num_parts", None)  # of several processes, which train-mil had once
        values = {**values, "train": train}
        model = section_of(values, "model")
        if model.get("embed_dim", 0) is None:
            values = {**values, "model": {**model, "embed_dim": 0}}
        if "recipe" in values:
            return values
        completed: dict[str, Any] = {**values, "recipe": "paper"}
        for section, settings in recipe_settings("paper").items():
            completed[section] = {**settings, **section_of(values, section)}
        return completed

    def resolved(self) -> Self:
        """Return the settings with absolute paths, to evaluate a run from any folder."""
        sections = {
            "cohort": ("labels", "slide_table", "features"),
            "model": ("init",),
            "split": ("files",),
            "train": ("feature_cache",),
        }
        return self.model_copy(
            update={
                section: absolute(getattr(self, section), *names)
                for section, names in sections.items()
            }
        )
