"""The parts of the Hugging Face hub's protocol that push and pull use, served on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

Files = dict[str, bytes]
_LARGE = (".safetensors", ".onnx")
LIBRARY_WARNS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""The hub's library uploads large files in a way that its own HTTP library deprecates."""


class Hub:
    """Repositories in memory: each a list of commits, the newest last."""

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[str, Files]]] = {}
        self.tags: dict[str, str] = {}
        self.private: dict[str, bool] = {}
        self.large: Files = {}
        self.endpoint = ""

    def commit(self, repo: str, files: Files) -> str:
        """Add a commit that holds these files and no others."""
        commits = self.commits.setdefault(repo, [])
        content = [len(commits), sorted((name, _sha256(data)) for name, data in files.items())]
        sha = hashlib.sha1(json.dumps(content).encode()).hexdigest()
        commits.append((sha, dict(files)))
        return sha

    def files(self, repo: str, revision: str = "main") -> tuple[str, Files] | None:
        """A revision's commit and files; None where there is none."""
        commits = self.commits[repo]
        if revision == "main":
            return commits[-1]
        return next(
            (each for each in commits if each[0] == self.tags.get(revision, revision)), None
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, content: Any = b"", code: int = 200, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            kind = "application/octet-stream" if content is body else "application/json"
            self.send_response(code)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def missing(self, what: str) -> None:
            self.answer({"error": f"{what} not found"}, 404, X_Error_Code=f"{what}NotFound")

        def handle_request(self) -> None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b"".join(self.chunks())
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            for pattern, answer in ROUTES:
                if found := re.fullmatch(pattern, f"{self.command} {path}"):
                    parts = found.groupdict()
                    repo = parts.get("repo")
                    if repo is not None and repo not in hub.commits:
                        return self.missing("Repo")
                    return answer(self, body, **parts)
            return self.answer({"error": f"no route for {self.command} {path}"}, 501)

        do_GET = do_HEAD = do_POST = do_PUT = handle_request

        def chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def create(self, body: bytes) -> None:
            wanted = json.loads(body)
            repo = f"{wanted['organization']}/{wanted['name']}"
            if repo in hub.commits:
                return self.answer({"error": "exists", "url": f"{hub.endpoint}/{repo}"}, 409)
            hub.private[repo] = "private" in (
                wanted.get("visibility"),
                wanted.get("private") and "private",
            )
            hub.commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
            return self.answer({"url": f"{hub.endpoint}/{repo}"})

        def validate(self, body: bytes) -> None:
            self.answer({"errors": [], "warnings": []})

        def preupload(self, body: bytes, repo: str) -> None:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})

        def batch(self, body: bytes, repo: str) -> None:
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.endpoint}/lfs/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})

        def upload(self, body: bytes, oid: str) -> None:
            assert _sha256(body) == oid
            hub.large[oid] = body
            self.answer()

        def commit(self, body: bytes, repo: str) -> None:
            _, files = hub.commits[repo][-1]
            files = dict(files)
            for line in body.splitlines():
                step = json.loads(line)
                value = step["value"]
                if step["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif step["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
                elif step["key"] == "deletedFile":
                    del files[value["path"]]
            sha = hub.commit(repo, files)
            self.answer({"commitUrl": f"{hub.endpoint}/{repo}/commit/{sha}", "commitOid": sha})

        def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
            if (found := hub.files(repo, revision or "main")) is None:
                return self.missing("Revision")
            siblings = [{"rfilename": name} for name in found[1]]
            return self.answer({"id": repo, "sha": found[0], "siblings": siblings})

        def tree(self, body: bytes, repo: str, revision: str) -> None:
            if (found := hub.files(repo, revision)) is None:
                return self.missing("Revision")
            files = []
            for name, data in found[1].items():
                oid = hashlib.sha1(data).hexdigest()
                file = {"type": "file", "path": name, "size": len(data), "oid": oid}
                if name.endswith(_LARGE):
                    file["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 130}
                files.append(file)
            return self.answer(files)

        def resolve(self, body: bytes, repo: str, revision: str, name: str) -> None:
            if (found := hub.files(repo, revision)) is None:
                return self.missing("Revision")
            sha, files = found
            if name not in files:
                return self.missing("Entry")
            is_large = name.endswith(_LARGE)
            data = files[name]
            etag = _sha256(data) if is_large else hashlib.sha1(data).hexdigest()
            return self.answer(data, X_Repo_Commit=sha, ETag=f'"{etag}"')

    repo = r"(?P<repo>[^/]+/[^/]+?)"
    ROUTES = [
        ("POST /api/repos/create", Handler.create),
        ("POST /api/validate-yaml", Handler.validate),
        (rf"POST /api/models/{repo}/preupload/main", Handler.preupload),
        (rf"POST /api/models/{repo}/commit/main", Handler.commit),
        (rf"POST /{repo}\.git/info/lfs/objects/batch", Handler.batch),
        (r"PUT /lfs/(?P<oid>\w+)", Handler.upload),
        (rf"GET /api/models/{repo}/tree/(?P<revision>[^/]+)", Handler.tree),
        (rf"GET /api/models/{repo}/revision/(?P<revision>.+)", Handler.info),
        (rf"GET /api/models/{repo}", Handler.info),
        (rf"(?:GET|HEAD) /{repo}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", Handler.resolve),
    ]
    return Handler


@contextmanager
def served() -> Iterator[Hub]:
    """Serve an empty hub while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def on_loopback(cache: Path) -> Iterator[Hub]:
    """Serve an empty hub, and have the hub's library use it, with a cache of its own.

    The library reads its environment when it is imported, which another test may have done.
    """
    from huggingface_hub import constants

    with served() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
        yield hub
