"""The fingerprint of a log: of what is in its files, not of when they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from components.event_log.files import LogFile


def digest_files(tables: Iterable[tuple[str, Iterable[LogFile]]]) -> str:
    """Returns a digest of the contents of a log's files, and of what their folders say of them, in their order.

    Args:
        tables: the name of each table and its files.
    """
    digest = hashlib.sha256()
    for table, files in tables:
        for file in files:
            with Path(file.path).open("rb") as content:
                content_digest = hashlib.file_digest(content, "sha256").hexdigest()
            partition = json.dumps(file.partition) if file.partition else ""
            digest.update(f"{table} {file.format} {content_digest}{partition}\n".encode())
    return digest.hexdigest()
