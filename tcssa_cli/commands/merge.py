"""`tcssa merge`: files of slots as one, or a slide language model as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tcssa.budgets import parse_budget
from tcssa.errors import UsageError, counted
from tcssa.vqa.settings import LanguageModelOptions
from tcssa_cli.commands.encode import Device
from tcssa_cli.options import BudgetOption, DebugFlag, JsonFlag, out_option
from tcssa_cli.output import Output
from tcssa_cli.settings_flags import Flags, given, refuse_others, with_flags

_SLOTS = "Files of slots"
_LLM = Flags(LanguageModelOptions, at="llm", panel="Runs of train-vqa")

_ModelOption = Annotated[
    Path | None,
    typer.Option(
        help="What made them: run, checkpoint or chunked artefact.", rich_help_panel=_SLOTS
    ),
]
_SameSlideFlag = Annotated[
    bool,
    typer.Option(
        "--same-slide",
        help="The files are parts of one slide; where its slots lie is merged too.",
        rich_help_panel=_SLOTS,
    ),
]


@with_flags(_LLM)
def merge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Files of slots that encode wrote; or one run of train-vqa."
        ),
    ],
    *,
    flags: dict[str, Any],
    model: _ModelOption = None,
    out: Annotated[Path, out_option("File of slots, or folder of a model, to write.")],
    same_slide: _SameSlideFlag = False,
    budget: BudgetOption = None,
    device: Annotated[
        Device,
        typer.Option(
            help="Where the experts run; one that is not available is an error.",
            rich_help_panel=_SLOTS,
        ),
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Merge encoded files into one, or a run of train-vqa into one folder that a server reads.

    The slots of merged files are those of all patches together; no features are needed. Without
    --same-slide the files may be slides of one patient; the merged file then does not say where
    slots lie. One file and --budget give the same slide with another number of slots.

    A run of train-vqa becomes a folder of transformers, LoRA in its weights, with compressor and
    projector beside it.

    Examples:
        tcssa merge encoded/slide_features_tcssa/A*.h5 --model run --out patient.h5
        tcssa merge part-1.h5 part-2.h5 --same-slide --model run --out slide.h5
        tcssa merge vqa-run --out merged
    """
    output = Output(as_json)
    folders = [path for path in files if path.is_dir()]
    if not folders:
        refuse_others([_LLM], [], flags, "files of slots are merged")
        _merge_files(output, files, model, out, same_slide, budget, device)
        return
    of_files = {
        "--model": model,
        "--same-slide": same_slide or None,
        "--budget": budget,
        "--device": None if device == "auto" else device,
    }
    _require_run_alone(folders[0], len(files), of_files)
    _merge_run(output, folders[0], out, given(LanguageModelOptions, flags["llm"]))


def _require_run_alone(folder: Path, num_things: int, of_files: Mapping[str, object]) -> None:
    """Refuse what does not go with a run: other things to merge, and options of files of slots."""
    if num_things > 1:
        raise UsageError(
            f"{folder} is a folder, and {num_things} things are to be merged",
            hint="give files of slots, or one run of train-vqa alone",
        )
    for flag, value in of_files.items():
        if value is not None:
            raise UsageError(f"{flag} is for files of slots, and {folder} is a folder")


def _merge_run(output: Output, run: Path, out: Path, llm: LanguageModelOptions) -> None:
    from tcssa.vqa.model.merge import merge_vqa

    merge_vqa(run, out, llm)
    shown = f"one folder with everything: {out}\nserve it: vllm serve {out} --enable-prompt-embeds"
    output.result({"run": run, "folder": out}, lambda console: console.print(shown, soft_wrap=True))


def _merge_files(
    output: Output,
    files: list[Path],
    model: Path | None,
    out: Path,
    same_slide: bool,
    budget: str | None,
    device: Device,
) -> None:
    if model is None:
        raise UsageError(
            "the model that made the files is missing", hint="give it with --model RUN"
        )
    from tcssa.hub import local_model
    from tcssa_runtimes import open_runtime
    from tcssa_runtimes.archive.merge import merge_slides

    with open_runtime(local_model(model, output), device=device) as runtime:
        runtime.set_budget(parse_budget(budget))
        merged = merge_slides(files, out, runtime, same_slide=same_slide)
    result = {
        "file": out,
        "files": files,
        "num_patches": merged.facts.num_patches,
        "has_places": merged.positions is not None,
    }
    places = "with" if merged.positions is not None else "without"
    output.result(
        result,
        lambda console: console.print(
            f"{counted(len(files), 'file')} merged, "
            f"{counted(merged.facts.num_patches, 'patch')}, {places} places: {out}",
            soft_wrap=True,
        ),
    )
