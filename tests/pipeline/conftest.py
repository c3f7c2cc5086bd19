"""The S3 server's bucket, for tests here."""

from __future__ import annotations

from tests.s3 import Bucket

__all__ = ["Bucket"]
