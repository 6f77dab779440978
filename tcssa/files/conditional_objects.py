"""Small objects of S3 that are put or removed on a condition, of which locks are made.

A condition is looked at by the store as it writes, so of several who ask at once one has its way.
Ages are by the store's own clock: each reply tells its time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

_TAKEN = (409, 412)
"""Replies to a condition that does not hold: being written by another, another object."""
_GONE = 404


@dataclass(frozen=True)
class Content:
    """What an object holds, and the tag of exactly this content."""

    data: bytes
    tag: str


class ConditionalObjects:
    """Objects of a bucket.

    Args:
        files: The file system, s3fs's.
        within: Does something with the store, some times until it works, and says what fails.
    """

    def __init__(self, files: Any, within: Callable[[Callable[[], Any]], Any]) -> None:
        self._files, self._within = files, within

    def put_new(self, key: str, data: bytes) -> str | None:
        """Put an object where none is; return its tag, None if there is one.

        One that was put by this very call may be found there: a request whose reply is lost is
        sent again.
        """
        return self._put(key, data, _TAKEN, IfNoneMatch="*")

    def put_over(self, key: str, data: bytes, tag: str) -> str | None:
        """Put an object in the place of one with a tag; return the new tag, None if it is gone."""
        return self._put(key, data, (_GONE, *_TAKEN), IfMatch=tag)

    def put(self, key: str, data: bytes) -> None:
        """Put an object, whatever is there."""
        self._put(key, data, ())

    def read(self, key: str) -> Content | None:
        """Return what an object holds; None if there is none."""
        from fsspec.asyn import sync

        reply = self._call("get_object", key)
        if reply is None:
            return None
        data = self._within(lambda: sync(self._files.loop, reply["Body"].read))
        return Content(data, reply["ETag"])

    def remove(self, key: str, tag: str | None = None) -> None:
        """Remove an object if it is there, and has this tag where one is given."""
        condition: dict[str, Any] = {} if tag is None else {"IfMatch": tag}
        self._call("delete_object", key, **condition)

    def age_s(self, key: str) -> float | None:
        """Return how long ago an object was put; None if there is none."""
        reply = self._call("head_object", key)
        return None if reply is None else _now(reply) - reply["LastModified"].timestamp()

    def ages_s(self, beginning: str) -> dict[str, float]:
        """Return how long ago each object was put whose key begins so."""
        bucket, prefix, _ = self._files.split_path(beginning)
        ages: dict[str, float] = {}
        after: dict[str, str] = {}
        while True:
            how = {"Bucket": bucket, "Prefix": prefix, **after}
            reply = self._within(partial(self._files.call_s3, "list_objects_v2", **how))
            for found in reply.get("Contents", []):
                ages[f"{bucket}/{found['Key']}"] = _now(reply) - found["LastModified"].timestamp()
            if not reply.get("IsTruncated"):
                return ages
            after = {"ContinuationToken": reply["NextContinuationToken"]}

    def are_conditions_kept(self, key: str) -> bool:
        """Tell whether the store looks at the conditions of a lock's puts, by trying each.

        Args:
            key: Where an object may be put for the trial.

        Raises:
            UploadError: The store refuses such a request, or the removal of an object by its tag.
        """
        try:
            tag = self.put_new(key, b"1")
            if tag is None or self.put_new(key, b"2") is not None:
                return False
            later = self.put_over(key, b"3", tag)
            if later is None or self.put_over(key, b"4", tag) is not None:
                return False
            self.remove(key, later)
            return True
        finally:
            self.remove(key)

    def _put(self, key: str, data: bytes, not_so: tuple[int, ...], **condition: str) -> str | None:
        reply = self._call("put_object", key, not_so, Body=data, **condition)
        return None if reply is None else str(reply["ETag"])

    def _call(
        self, what: str, key: str, not_so: tuple[int, ...] = (_GONE, *_TAKEN), **how: Any
    ) -> Any:
        """Return the reply to a request about an object; None if its condition does not hold."""
        bucket, name, _ = self._files.split_path(key)

        def call() -> Any:
            try:
                return self._files.call_s3(what, Bucket=bucket, Key=name, **how)
            except OSError as error:
                if _status(error) in not_so:
                    return None
                raise

        return self._within(call)


def _now(reply: Any) -> float:
    stated: str = reply["ResponseMetadata"]["HTTPHeaders"]["date"]
    return parsedate_to_datetime(stated).timestamp()


def _status(error: OSError) -> int | None:
    reply = getattr(error.__cause__, "response", None) or {}
    status: int | None = reply.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
