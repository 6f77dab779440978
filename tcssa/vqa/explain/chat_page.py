"""Writer of the page that keeps a conversation about a slide, with a map for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tcssa.reports.html_page import number, write_page
from tcssa.vqa.explain.chat_settings import ChatSettings
from tcssa.vqa.explain.slide_session import Answer

_MOST_ROWS = 10


def write_chat_page(
    path: Path, answers: Sequence[Answer], settings: ChatSettings, run: Path, pictures: Path
) -> None:
    """Write the page, atomically.

    Args:
        path: The page.
        answers: The answers so far, at least one.
        settings: How they were given.
        run: The run that gave them.
        pictures: Folder with the map of each answer that has one, ``1.png`` for the first.
    """
    turns = []
    for place, answer in enumerate(answers, start=1):
        picture = pictures / f"{place}.png"
        rows = [
            [
                str(slot.slot),
                number(slot.effect, 4, signed=True),
                "–" if slot.num_patches is None else str(slot.num_patches),
                "–" if slot.center is None else "{:.0f}, {:.0f}".format(*slot.center),
            ]
            for slot in answer.slots[:_MOST_ROWS]
        ]
        turns.append((answer, picture if picture.exists() else None, rows))
    drawn = f"temperature {settings.temperature:g}, top-p {settings.top_p:g}, seed {settings.seed}"
    facts = [
        ("run", str(run)),
        ("slide", answers[0].slide),
        ("system prompt", settings.system or "that of the training"),
        ("tokens", drawn if settings.temperature else "the likeliest"),
    ]
    template = Path(__file__).with_suffix(".html")
    write_page(path, template, slide=answers[0].slide, turns=turns, facts=facts)
