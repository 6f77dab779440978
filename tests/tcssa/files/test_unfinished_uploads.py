"""A process that is killed while it puts a file in parts, against a real S3 server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heard import Heard
from s3_server import s3_bucket

from tcssa.files import atomic, object_store, unfinished_uploads
from tcssa.files.forwarding import content as opened
from tcssa.files.output_folder import output_folder

# aiobotocore's own warnings are not ours to mend
pytestmark = [pytest.mark.s3, pytest.mark.filterwarnings("ignore")]

ADDRESS = "s3://bucket/job"

# Puts a file in parts and is killed when one of them has arrived.
KILLED = """
import os, signal, sys
from pathlib import Path
import s3fs
from tcssa.files import atomic, object_store
from tcssa.files.output_folder import output_folder
from tcssa.reporter import Silent

object_store._PART_BYTES, object_store._PARTS_AT_ONCE = 5 << 20, 1
call = s3fs.S3FileSystem._call_s3


async def killed(self, method, *args, **kwargs):
    reply = await call(self, method, *args, **kwargs)
    if method == "upload_part":
        os.kill(os.getpid(), signal.SIGKILL)
    return reply


s3fs.S3FileSystem._call_s3 = killed
with output_folder("s3://bucket/job", Silent()) as job:
    atomic.write_bytes(job / "features_uni_v2" / "S.h5", Path(sys.argv[1]).read_bytes())
"""


@pytest.fixture
def bucket() -> Iterator[Any]:
    with s3_bucket() as files:
        yield files


def test_half_an_upload_is_no_object_and_is_named_then_ended(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCSSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_store, "_PART_BYTES", 5 << 20)
    content = np.random.default_rng(0).bytes(12 << 20)
    (tmp_path / "content").write_bytes(content)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "content")]
    died = subprocess.run(command, check=False, env=os.environ, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert bucket.find("bucket") == []
    assert [each["Key"] for each in bucket.list_multipart_uploads("bucket")] == [
        "job/features_uni_v2/S.h5"
    ]
    reporter = Heard()
    monkeypatch.setattr(unfinished_uploads, "OLD_S", 1e12)  # moto dates all uploads in 2010
    with output_folder(ADDRESS, reporter) as job:
        assert [path for path in job.rglob("*") if path.is_file()] == []
        atomic.write_bytes(job / "features_uni_v2" / "S.h5", content)
        with opened(job / "features_uni_v2" / "S.h5") as file:
            assert file.read() == content
    assert (
        "1 unfinished upload, such as job/features_uni_v2/S.h5, of a killed call"
        in reporter.notes[0]
    )
    assert bucket.cat("bucket/job/features_uni_v2/S.h5") == content
    assert len(list((tmp_path / "cache" / "outputs").iterdir())) == 0  # the dead one's too
    monkeypatch.setattr(unfinished_uploads, "OLD_S", 3600.0)
    with output_folder(ADDRESS, reporter):
        pass
    assert "1 unfinished upload of killed calls ended" in reporter.notes[1]
    assert bucket.list_multipart_uploads("bucket") == []
    assert bucket.cat("bucket/job/features_uni_v2/S.h5") == content
