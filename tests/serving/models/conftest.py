"""Folders of pushed versions, whose model files have arbitrary content."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.models.storage import Storage
from serving.models.stores import open_storage
from tests.s3 import Bucket
from tests.serving.models.folders import upload, write_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A serving folder with versions 1 to 4, of which 3 has failed a gate."""
    serving = tmp_path / "sample" / "serving"
    for number in (1, 2, 3, 4):
        write_version(serving, number, failed=number == 3)
    return serving


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, folder: Path) -> Storage:
    """The same on this machine and on an S3 server."""
    if request.param == "folder":
        return open_storage(str(folder))
    bucket: Bucket = request.getfixturevalue("bucket")
    url = f"s3://{bucket.name}/sample/serving/"
    upload(folder, url)
    return open_storage(url)
