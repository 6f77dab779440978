"""Requests to a server, as JSON; whatever goes wrong is one line that names the address.

The standard library makes them: the HTTP library that huggingface_hub brings has another name in
each of its major versions, and nothing of it is needed for a server in the same house.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tcssa.errors import EndpointError, UsageError, one_line

_MOST_BYTES = 64 * 2**20
"""Longest answer that is read; those that are asked for take some kilobytes."""
_EVENT = b"data:"
_END = b"[DONE]"


class RefusedRequestError(EndpointError):
    """A request that a server answered with an error of its own."""

    def __init__(self, url: str, code: int, message: str) -> None:
        self.message = message
        super().__init__(
            f"{url} refuses the request ({code}): {message}", hint="look into the server's log"
        )


class Connection:
    """A server, and how long it may take.

    Args:
        address: The server's address, with or without ``/v1`` at its end.
        timeout_s: Longest wait for an answer, or for its next piece, in seconds.

    Raises:
        UsageError: The address is none of HTTP.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        if not _is_of_a_server(address):
            raise UsageError(
                f"--endpoint {address!r} is no address of a server",
                hint="give one such as http://localhost:8000",
            )
        self.address = address.rstrip("/").removesuffix("/v1")
        self.timeout_s = timeout_s

    def get(self, path: str) -> Any:  # JSON
        """Return what the server has at a path.

        Raises:
            EndpointError: The server does not answer, or with an error, or not in JSON.
        """
        with self._opened(Request(self.address + path)) as response:
            return self._parsed(response.read(_MOST_BYTES))

    def post(self, path: str, body: dict[str, Any]) -> Any:  # JSON
        """Send a request and return its answer.

        Args:
            path: Path below the address.
            body: The request, JSON-able.

        Raises:
            EndpointError: The server does not answer, or with an error, or not in JSON.
        """
        with self._opened(self._request(path, body)) as response:
            return self._parsed(response.read(_MOST_BYTES))

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[Any]:  # JSON
        """Send a request and yield the pieces of its answer as they come.

        Args:
            path: Path below the address.
            body: The request, JSON-able.

        Raises:
            EndpointError: The server does not answer, or with an error, or breaks off.
        """
        with self._opened(self._request(path, body)) as response:
            while line := response.readline(_MOST_BYTES):
                data = line.strip().removeprefix(_EVENT).strip()
                if data == _END:
                    return
                if data:
                    yield self._parsed(data)
        raise EndpointError(f"{self.address} broke off in the middle of an answer")

    def _request(self, path: str, body: dict[str, Any]) -> Request:
        content = json.dumps(body).encode()
        return Request(self.address + path, content, {"Content-Type": "application/json"})

    @contextmanager
    def _opened(self, request: Request) -> Iterator[HTTPResponse]:
        """Open a request and turn whatever goes wrong into an error of ours."""
        try:
            # the scheme was checked: it opens no file
            with urlopen(request, timeout=self.timeout_s) as response:
                yield response
        except HTTPError as error:
            with error:
                raise RefusedRequestError(
                    request.full_url, error.code, _message(error.read(_MOST_BYTES))
                ) from None
        except (OSError, HTTPException, UnicodeError) as error:  # the last: no name of a host
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, TimeoutError):
                raise EndpointError(
                    f"{self.address} did not answer within {self.timeout_s:g} s",
                    hint="raise --endpoint-timeout, or ask fewer at once with --batch-size",
                ) from None
            raise EndpointError(
                f"no server answers at {self.address} ({one_line(str(reason), 200)})",
                hint="start it: vllm serve DIR --enable-prompt-embeds",
            ) from None

    def _parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise EndpointError(
                f"{self.address} answers with something that is no JSON",
                hint="give the address of a vLLM server",
            ) from None


def _message(content: bytes) -> str:
    """Return what a server says of an error: its message, where it has one."""
    text = content.decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        return text[:300]
    if isinstance(said, dict):
        said = said.get("error", said)
    if isinstance(said, dict):
        said = said.get("message", said.get("detail", said))
    return str(said)[:300]


def _is_of_a_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:  # a bracket that does not close, for one
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
