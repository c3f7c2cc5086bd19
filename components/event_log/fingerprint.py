"""The fingerprint of what is read of a log: the same for the same content, wherever it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.left_out import read_left_out
from components.event_log.problems import Problem, raise_if_any

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import Listing, LogFile


def fingerprint_of(found: Mapping[str, Listing], spec: LogSpec) -> str:
    """Returns the fingerprint of all that is read of a log: its files, lists and lookups.

    Raises:
        LogError: a file that the configuration names cannot be read.
    """
    fingerprint = digest_files((table, listing.files) for table, listing in found.items())
    if spec.left_out is not None:  # whoever is added to the list is new data, too
        fingerprint = _with_list(fingerprint, spec.left_out)
    if spec.mapping is not None:  # and so is a lookup that has changed
        fingerprint = _with_side_files(fingerprint, spec.mapping.side_files)
    return fingerprint


def _with_list(fingerprint: str, path: str) -> str:
    read_left_out(path)  # missing, or something else: an error before anything runs
    content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return hashlib.sha256(f"{fingerprint} {content}".encode()).hexdigest()


def _with_side_files(fingerprint: str, paths: Iterable[str]) -> str:
    """Returns the fingerprint with the contents of lookups and lists of values.

    Raises:
        LogError: one of them cannot be read.
    """
    for path in paths:
        try:
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError as error:
            found = error.strerror or str(error)
            expected = "a file that data.lookups or data.leave_out names"
            raise_if_any([Problem(subject=path, expected=expected, found=found)])
        fingerprint = hashlib.sha256(f"{fingerprint} {content}".encode()).hexdigest()
    return fingerprint


def digest_files(tables: Iterable[tuple[str, Iterable[LogFile]]]) -> str:
    """Returns the fingerprint of a log: of the contents of its files, not of their times.

    Columns in the names of folders count as content.

    Args:
        tables: the name of each table and its files, in their order.
    """
    digest = hashlib.sha256()
    for table, files in tables:
        for file in files:
            with Path(file.path).open("rb") as content:
                content_digest = hashlib.file_digest(content, "sha256").hexdigest()
            partition = json.dumps(file.partition) if file.partition else ""
            digest.update(f"{table} {file.format} {content_digest}{partition}\n".encode())
    return digest.hexdigest()
