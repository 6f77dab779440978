"""What a tiny slide language model is trained on and with, in a second or two."""

import json
from pathlib import Path
from typing import Any

from factories import make_compressor, write_bag
from vqa_runs import slide_name

from tcssa.compressor import save_compressor
from tcssa.vqa.settings import (
    CorpusSettings,
    LlmSettings,
    LoraSettings,
    VisualSettings,
    VqaSettings,
    VqaTrainSettings,
)


def row(number: int, question: str = "What?", answer: str = "nothing odd") -> dict[str, Any]:
    """A question about a slide."""
    said = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": f"r{number}", "image": [slide_name(number)], "conversations": said}


def write_material(folder: Path, llm: Path) -> Path:
    """Ten slides, a question about each, a compressor, and a link to the language model."""
    for number in range(10):
        path = folder / "features" / f"{slide_name(number)}.h5"
        write_bag(path, 12 + number, seed=number)
    (folder / "data.json").write_text(json.dumps([row(number) for number in range(10)]))
    save_compressor(make_compressor(), folder / "compressor.safetensors")
    (folder / "llm").symlink_to(llm)
    return folder


def tiny(material: Path, data: str = "data.json", **sections: dict[str, Any]) -> VqaSettings:
    """Settings under which the tiny model trains in a second or two."""
    corpus = {"data": material / data, "features": material / "features", "val_fraction": 0.3}
    visual = {"compressor": material / "compressor.safetensors", "projector_dim": 8}
    options = {
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 4,
        "micro_batch_size": 4,
        "lr": 0.01,
    }
    return VqaSettings(
        corpus=CorpusSettings.model_validate(corpus | sections.get("corpus", {})),
        visual=VisualSettings.model_validate(visual | sections.get("visual", {})),
        llm=LlmSettings.model_validate({"llm": str(material / "llm")} | sections.get("llm", {})),
        lora=LoraSettings(rank=2, targets="q_proj,v_proj"),
        train=VqaTrainSettings.model_validate(options | sections.get("train", {})),
    )
