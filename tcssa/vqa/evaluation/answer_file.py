"""Reading of files that other systems write their answers to.

A table, a JSON list, JSONL, an object that holds such a list (as the results of the TC-SSA
reference: ``{"overall_accuracy": …, "predictions": [{"slide_id", "question", …}]}``), or an object
from ids to answers. Each row names its question, by id or by slide and wording, and what the system
said. Systems often copy the benchmark's own columns too, the right answer among them: what is taken
for the answer is chosen by its name, and never the right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcssa.errors import TableError
from tcssa.files.table import plain_name, read_table
from tcssa.files.text import lines_of, parse_json, read_text

_TABLES = (".csv", ".tsv")
_IDS = ("rowid", "id", "questionid", "qid")
_SLIDES = (
    "slide", "slideid", "slidename", "wsi", "wsiid", "caseid", "patientid", "patient", "image",
    "imageid", "imagepath", "id",
)  # fmt: skip
_QUESTIONS = ("question", "prompt", "query", "text")
_SAID = {"output", "outputs", "response", "responses", "completion", "reply", "generation",
         "generated", "raw", "resp", "resps"}  # fmt: skip
"""Words in the name of a column that holds what a system said."""
_READ = {"pred", "preds", "predict", "predicted", "prediction", "predictions", "extracted",
         "parsed", "chosen", "selected"}  # fmt: skip
"""Words in the name of a column that holds what was read off it."""
_OF_A_SYSTEM = {"model", "llm", "vlm", "system", "assistant", "bot", "gpt", "my", "our", "their",
                "student", "final"}  # fmt: skip
"""Words that make an answer that of a system."""
_GOLD = {"gt", "gold", "golden", "ground", "truth", "true", "correct", "right", "reference", "ref",
         "target", "label", "expected", "key"}  # fmt: skip
"""Words in the name of a column that holds the right answer."""
_OTHER = {"id", "idx", "index", "time", "seconds", "prob", "probs", "probability", "logprob",
          "logprobs", "logit", "logits", "score", "scores", "confidence", "length", "len", "tokens",
          "token", "count", "path", "file", "name", "type", "is", "accuracy", "match"}  # fmt: skip
"""Words in the name of a column that holds something about an answer."""
_PLAIN = ("answer", "text")
"""Names of the answer in files that hold nothing else, or the right answer in a benchmark's."""
_OF_BENCHMARKS = {"question", "choice", "choices", "options", "a", "b", "c", "d", "slide",
                  "task", "tumor"}  # fmt: skip
_LETTER = re.compile(r"[(\[]?[A-Za-z][)\].:]?")
_ALL_BUT_FEW = 0.8
"""Share of cells that are letters, from which a column of another name holds answers."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """The answer that one row of a file gives."""

    row_id: str | None
    slide: str | None
    question: str | None
    text: str
    line: str
    """Its place in the file, as ``line 12``."""


@dataclass(frozen=True)
class AnswerFile:
    """The answers of a file, and the columns that were taken."""

    answers: list[Given]
    column: str
    """The column of the answer."""
    others: list[str]
    """Columns that could have been meant too."""


def read_answers(path: Path, column: str | None = None) -> AnswerFile:
    """Read another system's answers.

    Args:
        path: The file.
        column: The column of the answer; None chooses it by its name.

    Raises:
        TableError: The file cannot be read, rows are malformed, no column is the answer's, or it
            could be any of several.
    """
    rows = dict(_rows(path))
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not rows:
        raise TableError(path, "holds no answer")
    taken, others = _answer_column(path, names, list(rows.values()), column)
    faults, found = [], []
    for line, row in rows.items():
        given = _given(row, names, taken, line)
        if isinstance(given, Given):
            found.append(given)
        else:
            faults.append(f"{line}: {given}")
    if faults:
        raise TableError(path, faults)
    return AnswerFile(found, taken, others)


def _given(row: Row, names: Sequence[str], column: str, line: str) -> Given | str:
    """Return the answer of a row, or what is wrong with it."""
    row_id = _text(_first(row, names, _IDS))
    slide = _text(_only(_first(row, names, _SLIDES)))
    question = _text(_first(row, names, _QUESTIONS))
    if row_id is None and (slide is None or question is None):
        return f"needs an id ({', '.join(_IDS[:3])}), or slide and question"
    if column not in row:
        return f"needs an answer ({column})"
    said = _only(row[column])
    text = "" if said is None else _text(said)
    if text is None:
        return f"the answer ({column}) must be text, found {str(said)[:60]}"
    return Given(row_id, slide, question, text, line)


def _answer_column(
    path: Path, names: Sequence[str], rows: Sequence[Row], asked: str | None
) -> tuple[str, list[str]]:
    """Choose the column of the answer; return those that might have been meant, too."""
    known = ", ".join(map(repr, names))
    hint = "name the one that holds the system's answers with --answer-column"
    if asked is not None:
        if asked not in names:
            raise TableError(path, f"has no column {asked!r}; found: {known}")
        return asked, []
    words = {name: _words(name) for name in names}
    said = [name for name in names if words[name] & _SAID or words[name] >= {"generated", "text"}]
    read = [name for name in names if words[name] & _READ]
    of_systems = [name for name in names if "answer" in words[name] and words[name] & _OF_A_SYSTEM]
    candidates = [
        name
        for name in dict.fromkeys([*said, *of_systems, *read])
        if not words[name] & (_GOLD - {"label", "key"} | _OTHER)
    ]
    said = [name for name in candidates if name not in read]
    if len(said) > 1 or (not said and len(candidates) > 1):
        both = " or ".join(map(repr, said or candidates))
        raise TableError(path, f"the answer could be {both}", hint=hint)
    if candidates:
        taken = said[0] if said else candidates[0]
        return taken, [name for name in candidates if name != taken]
    lettered = [
        name
        for name in names
        if plain_name(name) not in {*_PLAIN, *_IDS, *_OF_BENCHMARKS}
        and not words[name] & (_GOLD | _OTHER)
        and _holds_letters([row.get(name) for row in rows])
    ]
    if len(lettered) == 1:
        return lettered[0], []
    return _plain_column(path, names, words, hint), []


def _holds_letters(cells: Sequence[Any]) -> bool:
    """Tell whether the cells of a column are letters of options, but for a few."""
    letters = [cell for cell in cells if isinstance(cell, str) and _LETTER.fullmatch(cell.strip())]
    return len(letters) > 0 and len(letters) >= _ALL_BUT_FEW * len(cells)


def _plain_column(
    path: Path, names: Sequence[str], words: Mapping[str, set[str]], hint: str
) -> str:
    """Return the column that is called answer, where it is the system's and not the right one."""
    plain = [name for name in names if plain_name(name) in _PLAIN]
    if not plain and len(names) == 2:  # an id, and a column named after the system
        rest = [name for name in names if plain_name(name) not in _IDS]
        if len(rest) == 1 and not words[rest[0]] & (_GOLD | _OTHER):
            return rest[0]
    with_gold = any(words[name] & _GOLD - {"label", "key"} for name in names)
    of_benchmark = any(plain_name(name) in _OF_BENCHMARKS for name in names)
    if len(plain) == 1 and (with_gold or not of_benchmark or plain_name(plain[0]) == "text"):
        return plain[0]
    if plain:
        shown = " and ".join(map(repr, plain))
        reason = (
            f"{shown} stands beside the benchmark's own columns: it may be the right answer or the "
            "system's"
        )
        raise TableError(path, reason, hint=hint)
    found = ", ".join(map(repr, names))
    raise TableError(path, f"no column is an answer by its name; found: {found}", hint=hint)


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Read each row with its place, unchecked."""
    if path.suffix.lower() in _TABLES:
        table = read_table(path, multiline=True, exact=True)
        yield from ((f"line {line}", row) for line, row in table.rows.items())
        return
    text = read_text(path, TableError)
    content = _whole(text, path) if path.suffix.lower() not in (".jsonl", ".ndjson") else None
    if content is None and text.lstrip().startswith("[") and not _is_row(text):
        content = parse_json(text, path, TableError, top=list)
    if content is not None:
        yield from _of_content(content, path)
        return
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield f"line {number}", parse_json(line, path, TableError, top=dict, line=number)


def _whole(text: str, path: Path) -> Any:
    """Return the one value that a JSON file holds; None if it holds a value per line."""
    try:
        json.loads(text)
    except RecursionError:
        pass
    except ValueError as fault:
        if "Extra data" in str(fault) and text.lstrip().startswith("{"):
            return None
    return parse_json(text, path, TableError, top=(dict, list))


def _is_row(text: str) -> bool:
    """Tell whether the first line of a file is a JSON value of its own, and others follow."""
    lines = [line for line in lines_of(text) if line.strip()]
    try:
        json.loads(lines[0])
    except (ValueError, RecursionError):
        return False
    return len(lines) > 1


def _of_content(content: Any, path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a JSON list, of an object that holds one, or of one from id to answer."""
    if isinstance(content, dict):
        lists = [name for name, value in content.items() if _is_list_of_rows(value)]
        if len(lists) == 1:
            content = content[lists[0]]
        elif lists:
            both = " or ".join(map(repr, lists))
            raise TableError(path, f"the answers could be the list {both}")
        elif content and all(isinstance(value, str) for value in content.values()):
            content = [{"id": row_id, "output": answer} for row_id, answer in content.items()]
        elif content and all(isinstance(value, dict) for value in content.values()):
            content = _of_objects(content)
        else:
            content = [content]
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise TableError(path, f"row {number}: must be an object, is {str(row)[:60]!r}")
        yield f"row {number}", row


def _of_objects(content: Mapping[str, Row]) -> list[Row]:
    """Return the rows of an object of objects: pandas writes one a column, or one a row."""
    same = len({frozenset(value) for value in content.values()}) == 1
    if same and any(plain_name(name) in (*_IDS, *_QUESTIONS) for name in content):
        places = next(iter(content.values()))
        return [{name: column[place] for name, column in content.items()} for place in places]
    with_ids = any(plain_name(name) in _IDS for row in content.values() for name in row)
    return [row if with_ids else {"id": key, **row} for key, row in content.items()]


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _first(row: Row, names: Sequence[str], known: Sequence[str]) -> Any:
    """Return the value under the first of these names that has one, whatever its spelling."""
    spelled = {plain_name(name): name for name in reversed(names)}
    values = (row.get(spelled[name]) for name in known if name in spelled)
    return next((value for value in values if value not in (None, "")), None)


def _only(value: Any) -> Any:
    """Return the only item of a list; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(value: Any) -> str | None:
    """Return text or a number as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip()


def _words(name: str) -> set[str]:
    """Return the words of a column's name: ``predictedAnswer`` is predicted and answer."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return set(re.findall(r"[a-z0-9]+", spaced.lower()))
