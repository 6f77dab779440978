"""Descriptions of runs, artefacts and encoders that are incomplete or claim too much; settings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from fuzz.folders import pack, unpack
from fuzz.hostile.case import Case
from fuzz.seeds import descriptions as seeds

_DEEP = b"[" * 2_000 + b"]" * 2_000


def cases() -> Iterator[Case]:
    """Make all descriptions of the corpus."""
    folders: dict[str, tuple[Callable[[], list[bytes]], str]] = {
        "run": (seeds.runs, "run.json"),
        "artefact": (seeds.artefacts, "artefact.json"),
        "encoder": (seeds.encoders, "encoder.json"),
        "vqa-run": (seeds.language_models, "vqa.json"),
        "metrics": (seeds.metrics, "metrics.json"),
    }
    for target, (make, name) in folders.items():
        files = unpack(make()[0])
        sound = files[name]
        texts = {
            "null": b"null", "a-list": b"[1, 2]", "empty": b"", "nested": _DEEP,
            "nested-in-an-object": b'{"x": ' + _DEEP + b"}",
            "utf-16": sound.decode().encode("utf-16"),
            "not-finished": sound[:-1], "name-twice": sound[:-1] + b", " + sound[1:],
            "a-long-number": b'{"x": ' + b"9" * 5000 + b"}",
            "not-utf-8": sound.replace(b"0", b"\xff"),
        }  # fmt: skip
        for word, text in texts.items():
            yield Case(target, word, pack({**files, name: text}))
        content = json.loads(sound)
        for key in content:
            if key in _NEEDED[target]:
                less = {k: v for k, v in content.items() if k != key}
                yield Case(target, f"without-{key}", pack({**files, name: _json(less)}))
        for word, (key, value) in _VALUES[target].items():
            changed = _json({**content, key: value})
            yield Case(target, word, pack({**files, name: changed}))
    yield from _artefact_models()
    yield from _settings()


def _artefact_models() -> Iterator[Case]:
    files = unpack(seeds.artefacts()[0])
    content = json.loads(files["artefact.json"])
    names = {"long": "x" * 5000, "of-two-lines": "a\nb", "above": "../model.onnx", "none": ""}
    for word, name in names.items():
        full = {**content["models"]["full"], "file": name}
        changed = _json({**content, "models": {"full": full}})
        yield Case("artefact", f"file-name-{word}", pack({**files, "artefact.json": changed}))
    parity = {**content["parity"], "tolerance": math.nan}
    changed = _json({**content, "parity": parity})
    yield Case("artefact", "tolerance-nan", pack({**files, "artefact.json": changed}))
    yield Case("artefact", "model-gone", pack({"artefact.json": files["artefact.json"]}))
    yield Case("artefact", "model-of-another-hash", pack({**files, "model.onnx": b"other"}))


def _settings() -> Iterator[Case]:
    doubled = "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    texts = {
        "aliases-doubled": f"a0: &a0 x\n{doubled}",
        "alias-in-itself": "a: &a [*a]\n",
        "alias-unknown": "a: *b\n",
        "runs-a-command": "a: !!python/object/apply:os.system ['true']\n",
        "makes-an-object": "a: !!python/object:argparse.Namespace {}\n",
        "nested": "a: " + "[" * 5000 + "]" * 5000 + "\n",
        "name-twice": "a: 1\na: 2\n",
        "name-of-a-list": "? [1, 2]\n: x\n",
        "name-of-a-number": "1: x\n",
        "a-list": "- a\n",
        "two-documents": "a: 1\n---\nb: 2\n",
        "a-tab": "a:\n\t- b\n",
        "not-utf-8": "a: \udcff\n",
        "merged-with-text": "a: &a x\n<<: *a\n",
    }
    for name, text in texts.items():
        content = text.encode("utf-8", "surrogateescape")
        yield Case("yaml", name, content, ended_process=name == "aliases-doubled")


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


_NEEDED = {
    "run": ("schema_version", "selected"),
    "artefact": ("models", "feature_dim", "patches", "parity"),
    "encoder": ("file", "feature_dim", "input_px"),
    "vqa-run": ("schema_version", "visual", "llm", "files"),
    "metrics": ("pooled", "folds"),
}
_VALUES: dict[str, dict[str, tuple[str, Any]]] = {
    "run": {
        "selected-is-a-long-name": ("selected", "x" * 5000),
        "selected-is-a-list": ("selected", ["fold-0"]),
        "selected-leads-out": ("selected", "../other"),
        "schema-of-later": ("schema_version", 99),
        "complete-is-false": ("complete", False),
    },
    "artefact": {
        "models-none": ("models", {}),
        "feature-dim-negative": ("feature_dim", -4),
        "feature-dim-1e12": ("feature_dim", 10**12),
        "format-unknown": ("format", "x"),
        "a-fact-more": ("other", 1),
    },
    "encoder": {
        "feature-dim-text": ("feature_dim", "x"),
        "kind-unknown": ("kind", "x"),
        "std-nan": ("std", [math.nan] * 3),
        "std-none": ("std", [0.0] * 3),
        "tolerance-infinite": ("tolerance", math.inf),
    },
    "vqa-run": {
        "file-leads-out": ("files", {"../x": "y", "projector.safetensors": "z"}),
        "file-of-a-long-name": ("files", {"x" * 5000: "y", "projector.safetensors": "z"}),
        "stage-unknown": ("stage", 3),
    },
    "metrics": {"folds-none": ("folds", []), "classes-are-text": ("classes", "ab")},
}
