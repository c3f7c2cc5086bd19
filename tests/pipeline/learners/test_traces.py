"""An id is found in any file, as a word of its own; what cannot be read is no file without it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from components.errors import MasteryError
from pipeline.learners.traces import holds_id


@pytest.mark.parametrize(
    ("content", "learner", "found"),
    [
        ("a,ann,1", "ann", True),
        ("a,ann-2,joann", "ann", False),
        ("a,anything", "a.*g", False),
        ("x (a.*g) y", "a.*g", True),
        (f"{'.' * (2**20 - 2)} ann ", "ann", True),  # across two blocks
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.gz", "damaged.gz"])
def test_an_id_is_found_as_a_word(
    tmp_path: Path, content: str, learner: str, found: bool, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name == "a.gz" else content.encode())
    assert holds_id(path, learner) is found


def test_a_damaged_archive_is_no_traceback(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 9))
    packed[10:20] = b"\xff" * 10
    (tmp_path / "a.gz").write_bytes(packed)
    assert not holds_id(tmp_path / "a.gz", "ann")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")  # unlike a mode, it stops root, too
    with pytest.raises(MasteryError, match="nobody knows whether it holds the id"):
        holds_id(tmp_path / "loop", "ann")
