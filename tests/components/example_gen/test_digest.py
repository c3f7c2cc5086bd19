from __future__ import annotations

import os
from pathlib import Path

from components.event_log.sources import LogFile
from components.example_gen.driver import digest_files


def test_depends_on_what_is_in_the_files_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("a")
    second.write_text("b")
    files = [LogFile(str(first), "csv", 0), LogFile(str(second), "csv", 1)]
    digest = digest_files([("events", files)])

    os.utime(first, (1, 1))
    assert digest_files([("events", files)]) == digest
    assert digest_files([("events", files[::-1])]) != digest
    assert digest_files([("outcomes", files)]) != digest

    before = first.stat()
    first.write_text("c")
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest_files([("events", files)]) != digest


def test_depends_on_what_the_folders_say_of_the_files(tmp_path: Path) -> None:
    digests = set()
    for folder in ("unit_id=a", "unit_id=b", "plain", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "e.csv").write_text("a")
        digests.add(
            digest_files([("events", [LogFile(str(tmp_path / folder / "e.csv"), "csv", 0)])])
        )
    assert len(digests) == 3
