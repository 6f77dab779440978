"""Uploads in parts that were begun in S3 and never joined, as a killed process leaves them.

Nobody sees them as objects, but they are paid for. An upload may be another host's that is at work,
so only old ones are ended.
"""

from __future__ import annotations

import time
from typing import Any

OLD_S = 3600.0
"""Age from which nobody is at work on an upload of a file of ours."""


def end_unfinished(files: Any, root: str) -> tuple[list[str], list[str]]:
    """End the old uploads below a prefix.

    Args:
        files: The file system, s3fs's.
        root: Bucket and prefix.

    Returns:
        Keys of the uploads that were ended, and of those that are too young to tell.
    """
    bucket, prefix, _ = files.split_path(root)
    ended, young = [], []
    for upload in _unfinished(files, bucket, f"{prefix}/" if prefix else ""):
        key = upload["Key"]
        if time.time() - upload["Initiated"].timestamp() < OLD_S:
            young.append(key)
            continue
        files.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload["UploadId"])
        ended.append(key)
    return ended, young


def _unfinished(files: Any, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """List uploads, of which a reply holds a thousand."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        reply = files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **after)
        found += reply.get("Uploads", [])
        if not reply.get("IsTruncated"):
            return found
        after = {
            "KeyMarker": reply["NextKeyMarker"],
            "UploadIdMarker": reply["NextUploadIdMarker"],
        }
