"""Which unfinished uploads are ended: those of files of ours, below the job's own prefix."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tcssa.files.unfinished_uploads import end_unfinished

OURS = [
    "job/20x_224px_0px_overlap/features_uni_v2/S.h5",
    "job/20x_224px_0px_overlap/patches/S_patches.h5",
    "job/slide_features_tcssa/part-0123456789ab.parquet",
    "job/case_features_tcssa/P.h5",
]
OTHERS = ["backup.tar", "job/backup.tar", "job/20x_224px_0px_overlap/model.h5", "job2/patches/S.h5"]


class Bucket:
    """The calls of s3fs that are made, of a bucket that holds old uploads."""

    def __init__(self) -> None:
        self.keys = sorted(OURS + OTHERS)

    def split_path(self, root: str) -> tuple[str, str, None]:
        bucket, _, prefix = root.partition("/")
        return bucket, prefix, None

    def call_s3(self, method: str, **how: Any) -> dict[str, Any]:
        if method == "abort_multipart_upload":
            self.keys.remove(how["Key"])
            return {}
        begun = datetime(2020, 1, 1, tzinfo=UTC)
        found = [key for key in self.keys if key.startswith(how["Prefix"])]
        return {"Uploads": [{"Key": key, "Initiated": begun, "UploadId": key} for key in found]}


@pytest.mark.parametrize(("root", "ended"), [("bucket/job", sorted(OURS)), ("bucket", [])])
def test_uploads_of_other_programs_stay(root: str, ended: list[str]) -> None:
    bucket = Bucket()
    assert end_unfinished(bucket, root) == (ended, [])
    assert bucket.keys == sorted({*OURS, *OTHERS} - {*ended})
