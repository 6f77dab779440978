"""Settings of `tcssa train-vqa`. Imports nothing heavy: the command line reads its help here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from tcssa.config.settings import RESOLVED_FILE, Section, absolute, read_resolved, section_of
from tcssa.errors import RunError
from tcssa.hub import is_hub_address
from tcssa.plugins import OnlyByUser

TRUST_OPTION = "--trust-remote-code"

OWN_PROMPT = "own"
VQA_FILE = "vqa.json"
"""What a finished, merged or imported run has: see `tcssa.vqa.model.run_file`."""
DEFAULT_LLM = "Qwen/Qwen3-4B-Instruct-2507"
_CACHE_SETTINGS = ("slot_cache", "use_slot_cache")
VisualKind = Literal[
    "tcssa", "sample", "spatial", "topm", "kmeans", "tome", "mean", "abmil", "full"
]
AttentionKind = Literal["sdpa", "flash", "eager"]
QuantizeKind = Literal["nf4", "int8"]
BenchmarkKind = Literal["slidebench-tcga", "slidebench-bcnb", "wsi-vqa", "conversations"]
"""Kinds of question files that a model is scored on; conversations are open questions."""
FileKind = BenchmarkKind
"""Kinds of question files."""
SeveralSlides = Literal["error", "dx1", "first", "merge", "concat"]
"""What to do where a row is about several slides, or names a patient who has several.

``error`` refuses the row, and names the slides. Of a patient, ``dx1`` takes the slide whose barcode
ends with DX1 if there is exactly one, and ``first`` the first by name; a row that names several
slides itself is refused. ``merge`` shows one set of slots of the patches of all slides, and
``concat`` the tokens of one slide behind those of the other."""
TOGETHER: tuple[SeveralSlides, ...] = ("merge", "concat")
"""What shows all slides of a row."""


def _as_list(value: Any) -> Any:
    """Make a list of the one folder that runs of older versions, and the environment, name."""
    if value is None:
        return []
    return [value] if isinstance(value, str | Path) else value


class CorpusSettings(Section):
    """The conversations to learn from, and the slides they are about.

    The section is not called ``data``: the variable TCSSA_DATA names the data root.
    """

    data: Path | None = Field(
        default=None,
        description="Conversations to learn from: JSON of SlideInstruct or LLaVA, or messages "
        "(JSON, JSONL).",
    )
    features: Annotated[list[Path], NoDecode, BeforeValidator(_as_list)] = Field(
        default=[],
        description="Folder of patch features, one file a slide, or a job folder; folders below it "
        "are searched too. Repeat it for more.",
    )
    val_data: Path | None = Field(
        default=None,
        description="Conversations to validate on; they share no slide or patient with --data.",
    )
    val_fraction: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the patients of --data to validate on, if there is no --val-data.",
    )
    several: SeveralSlides = Field(
        default="error",
        description="Where a row is about several slides, or names a patient with several: leave "
        "it out (error), show one set of slots of the patches of all (merge), or the tokens of one "
        "slide behind those of the other (concat); of a patient also take the slide DX1 (dx1), or "
        "the first by name (first).",
    )
    max_length: int = Field(
        default=2048,
        ge=8,
        description="Longest row in tokens, slots included; longer ones are left out, not cut.",
    )
    max_dropped: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of rows that may be left out (no features, too long, nothing to learn) "
        "before it is an error.",
    )

    def resolved(self) -> Self:
        """Return the same settings with absolute paths."""
        features = [folder.resolve() for folder in self.features]
        return absolute(self, "data", "val_data").model_copy(update={"features": features})


class VisualSettings(Section):
    """The visual encoder, which makes a slide's tokens for the language model."""

    kind: VisualKind = Field(
        default="tcssa",
        description="What the model sees of a slide: slots (tcssa); patches chosen at random "
        "(sample), by place (spatial) or by a learned score (topm); patches grouped by k-means "
        "(kmeans) or merged, the most alike first (tome); the mean of all (mean), attention "
        "pooling (abmil) or all patches (full).",
    )
    compressor: Annotated[Path | None, OnlyByUser("--compressor", is_hub_address)] = Field(
        default=None,
        description="Run of train-mil, checkpoint, or hf:OWNER/NAME of one on the hub, whose "
        "compressor makes the slots. [default: a new one, which needs --train-compressor]",
    )
    num_tokens: int = Field(
        default=32,
        ge=1,
        description="Tokens per slide with sample, spatial, topm, kmeans and tome, or slots of a "
        "new compressor; one from --compressor keeps its K.",
    )
    budget: int | None = Field(
        default=None,
        ge=1,
        description="Slots per slide, for a compressor trained with --nested. [default: all]",
    )
    max_patches: int = Field(
        default=1024,
        ge=1,
        description="Most patches of a slide with full; larger slides are left out, and counted.",
    )
    projector_dim: int = Field(
        default=2048, ge=1, description="Width between the projector's two layers."
    )
    slot_cache: Path | None = Field(
        default=None, description="Folder of the slot cache. [default: in the run directory]"
    )
    use_slot_cache: bool = Field(
        default=True,
        description="Keep every slide's tokens instead of reading its features for each row.",
    )

    def resolved(self) -> Self:
        """Return the same settings with absolute paths."""
        return absolute(self, "compressor", "slot_cache")


def _as_choice(value: Any) -> Any:
    """Take the yes and no of older runs, which are also what YAML makes of on and off."""
    return ("on" if value else "off") if isinstance(value, bool) else value


class LlmSettings(Section):
    """The language model."""

    llm: str = Field(
        default=DEFAULT_LLM,
        description="Folder, GGUF file or name of the language model; a name must be in the cache.",
    )
    allow_hub: Annotated[bool, OnlyByUser("--allow-hub", bool)] = Field(
        default=False, description="Allow the model to be downloaded from its hub."
    )
    trust_remote_code: Annotated[bool, OnlyByUser(TRUST_OPTION, bool)] = Field(
        default=False, description="Run code that comes with the model. Only if you trust it."
    )
    system: str | None = Field(default=None, description="System prompt. [default: none]")
    quantize: QuantizeKind | None = Field(
        default=None,
        description="Hold the weights in 4 or 8 bits (QLoRA, needs bitsandbytes); what trains "
        "stays in full. [default: as --precision says]",
    )
    attention: AttentionKind | None = Field(
        default=None,
        description="How attention is computed: by torch (sdpa), FlashAttention-2 (flash: a GPU, "
        "bf16 and the package flash-attn), or as the formula says (eager). [default: the model's "
        "own, mostly sdpa]",
    )
    gradient_checkpointing: Annotated[Literal["auto", "on", "off"], BeforeValidator(_as_choice)] = (
        Field(
            default="auto",
            description="Compute activations twice, to save memory; auto does where the estimated "
            "memory would not suffice otherwise.",
        )
    )


class LoraSettings(Section):
    """The adapter of stage 2."""

    rank: int = Field(default=16, ge=1, description="Rank r of LoRA's matrices.")
    alpha: float = Field(default=32, gt=0, description="Scale α of LoRA; α/r multiplies it.")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout before LoRA's matrices.")
    targets: str = Field(
        default="all-linear",
        description="Layers that get LoRA: all-linear, or names separated by commas.",
    )


class VqaTrainSettings(Section):
    """The stage, the schedule and the optimiser of a training."""

    stage: Literal[1, 2] = Field(
        default=1, description="1 aligns the projector on captions; 2 trains LoRA on questions."
    )
    from_run: Path | None = Field(
        default=None, description="Run to start from; stage 2 starts from one of stage 1."
    )
    train_compressor: bool = Field(
        default=False,
        description="Train the compressor too; needs the features of every row. A new one needs "
        "a higher --compressor-lr.",
    )
    train_projector: bool = Field(
        default=False, description="Train the projector in stage 2 too; stage 1 always does."
    )
    epochs: int = Field(default=1, ge=1, description="Passes over the rows.")
    lr: float | None = Field(
        default=None,
        gt=0,
        description="Peak learning rate. [default: 1e-3 in stage 1, 2e-4 in stage 2]",
    )
    compressor_lr: float = Field(
        default=1e-5, gt=0, description="Peak learning rate of the compressor, if it trains."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    warmup: float = Field(
        default=0.03,
        ge=0,
        le=1,
        description="Share of the steps in which the learning rate rises, from 0 to 1.",
    )
    clip_norm: float = Field(
        default=1.0, ge=0, description="Largest norm of a step's gradient; 0 turns clipping off."
    )
    aux_weight: float = Field(
        default=0.1, ge=0, description="Weight λ of the balance loss of a compressor that trains."
    )
    batch_size: int = Field(
        default=32, ge=1, description="Rows of one optimiser step, over all processes."
    )
    micro_batch_size: int = Field(
        default=4,
        ge=1,
        description="Rows that go through the model at once; gradients are accumulated.",
    )
    pack: bool = Field(
        default=False,
        description="Put rows behind each other without padding, up to --max-length tokens at "
        "once, in place of --micro-batch-size rows.",
    )
    validate_every: int = Field(
        default=0, ge=0, description="Steps between validations; 0 validates after each epoch."
    )
    seed: int = Field(default=0, ge=0, description="Seed of order, weights, noise and dropout.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="Number format of the language model; auto is bf16 on a GPU that has it, else "
        "fp32. What trains stays fp32.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes a GPU if there is one."
    )
    shard: bool = Field(
        default=False,
        description="Let each of several processes hold a part of every weight (FSDP), for a model "
        "that is too large for one GPU.",
    )
    checkpoint_every_s: float = Field(
        default=300.0, ge=0, description="Seconds between checkpoints that a killed run resumes at."
    )
    keep_checkpoints: int = Field(
        default=1,
        ge=1,
        description="Validated steps to keep, the best ones; each more is a run of its own in "
        "OUT/checkpoints.",
    )
    track: Literal["tensorboard", "wandb", "mlflow"] | None = Field(
        default=None,
        description="Tracker to tell of losses and rates too, offline, in OUT/tracking. [default: "
        "none]",
    )

    @property
    def peak_lr(self) -> float:
        """The learning rate that is in force."""
        return self.lr if self.lr is not None else {1: 1e-3, 2: 2e-4}[self.stage]

    def resolved(self) -> Self:
        """Return the same settings with absolute paths, and the learning rate in force."""
        return absolute(self, "from_run").model_copy(update={"lr": self.peak_lr})


class LanguageModelOptions(Section):
    """Options for a run's language model."""

    llm: str | None = Field(
        default=None,
        description="Folder, GGUF file or name of the language model. [default: the one that the "
        "run was trained with]",
    )
    allow_hub: bool = Field(
        default=False, description="Allow the language model to be downloaded from its hub."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run code that comes with the language model. Only if you trust it.",
    )


class EvalOptions(Section):
    """Options of putting a benchmark to a model."""

    method: Literal["likelihood", "text", "generate"] = Field(
        default="likelihood",
        description="How an option is chosen: likelihood of its letter, likelihood of its text "
        "where the model is shown no options (text), or the option found in a generated answer "
        "(generate).",
    )
    permute: bool = Field(
        default=False,
        description="Ask every cyclic order of the options too, to see whether answers follow the "
        "letter.",
    )
    max_new_tokens: int = Field(
        default=64, ge=1, description="Longest generated answer, in tokens."
    )
    prompt: str = Field(
        default=OWN_PROMPT,
        min_length=1,
        description="Wording of questions and options: own, tc-ssa or slidechat, or a YAML file "
        "with one.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="Ask only the first rows of the file; the report says so. [default: all]",
    )
    several: SeveralSlides | None = Field(
        default=None,
        description="Where a row is about several slides, or names a patient with several: do not "
        "ask it (error), show one set of slots of the patches of all (merge), or the tokens of one "
        "slide behind those of the other (concat); of a patient also take the slide DX1 (dx1), or "
        "the first by name (first). [default: as the run was trained]",
    )
    batch_size: int = Field(
        default=16, ge=1, description="Prompts read at a time; does not change the answers."
    )

    @model_validator(mode="after")
    def _require_shown_options(self) -> Self:
        """Refuse to permute or word options that the method does not show."""
        if self.permute and self.method == "text":
            raise ValueError("--permute has no meaning with --method text, which shows no options")
        if self.prompt != OWN_PROMPT and self.method == "text":
            raise ValueError("--prompt has no meaning with --method text, which shows no options")
        return self


class VqaSettings(Section):
    """Everything that defines a run of `tcssa train-vqa`."""

    corpus: CorpusSettings = CorpusSettings()
    visual: VisualSettings = VisualSettings()
    llm: LlmSettings = LlmSettings()
    lora: LoraSettings = LoraSettings()
    train: VqaTrainSettings = VqaTrainSettings()

    def resolved(self) -> Self:
        """Return the settings with absolute paths, so that a run depends on no working folder."""
        parts = {
            "corpus": self.corpus.resolved(),
            "visual": self.visual.resolved(),
            "train": self.train.resolved(),
        }
        return self.model_copy(update=parts)


def inherited(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the run that training starts from says of slides and language model.

    Stage 2 need not repeat stage 1's compressor and model; what it does repeat must be the same,
    but for the precision and what several slides of a row become, which may be others. A run of
    stage 2 has LoRA already.

    Args:
        given: All settings that were asked for, nested by section.

    Returns:
        Settings by section and name; none without a run to start from.

    Raises:
        RunError: The run holds no settings of train-vqa, or is a merged or imported one.
    """
    from_run = section_of(given, "train").get("from_run")
    if from_run is None:
        return {}
    run = Path(str(from_run))
    if (run / VQA_FILE).exists() and not (run / RESOLVED_FILE).exists():
        raise RunError(
            run,
            "is a merged or imported model, which holds no settings to train on with",
            hint="give --from the run of train-vqa itself; an imported one can be asked, evaluated "
            "and merged only",
        )
    before = read_resolved(run, VqaSettings, RunError).model_dump(mode="json")
    visual = {k: v for k, v in before["visual"].items() if k not in _CACHE_SETTINGS}
    llm = {k: v for k, v in before["llm"].items() if k in ("llm", "system", "quantize")}
    lora = {"lora": before["lora"]} if before["train"]["stage"] == 2 else {}
    precision = {"precision": before["train"]["precision"]}
    several = {"several": before["corpus"]["several"]}
    return {"corpus": several, "visual": visual, "llm": llm, **lora, "train": precision}
