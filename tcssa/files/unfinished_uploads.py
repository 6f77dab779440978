"""Uploads in parts that were begun in S3 and never joined, as a killed process leaves them.

Nobody sees them as objects, but they are paid for. An upload may be another host's that is at work,
so only old ones are ended; and it may be another program's, so only those of our large files are,
and none where the whole bucket is the job's folder.
"""

from __future__ import annotations

import re
import time
from typing import Any

OLD_S = 3600.0
"""Age from which nobody is at work on an upload of a file of ours."""
_OURS = re.compile(r"(.+/)?(patches|(slide_|case_)?features_[^/]+)/[^/]+\.(h5|parquet)")
"""Names below the job's prefix of files that are large enough to be put in parts."""


def end_unfinished(files: Any, root: str) -> tuple[list[str], list[str]]:
    """End the old uploads of files of ours below a prefix; at a bucket's root there are none.

    Args:
        files: The file system, s3fs's.
        root: Bucket and prefix.

    Returns:
        Keys of the uploads that were ended, and of those that are too young to tell.
    """
    bucket, prefix, _ = files.split_path(root)
    ended: list[str] = []
    young: list[str] = []
    if not prefix:
        return ended, young
    for upload in _unfinished(files, bucket, f"{prefix}/"):
        key = upload["Key"]
        if not _OURS.fullmatch(key.removeprefix(f"{prefix}/")):
            continue
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
