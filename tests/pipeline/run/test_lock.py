"""One run at a time in a root."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import MasteryError
from components.files.atomic import NotAFileError
from pipeline.run.lock import lock_root


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    with (
        lock_root(tmp_path),
        pytest.raises(MasteryError, match="another run is using it"),
        lock_root(tmp_path),
    ):
        pass
    with lock_root(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "made")
    with (
        pytest.raises(NotAFileError, match=r"\.lock: expected a file of ours, found a link"),
        lock_root(tmp_path),
    ):
        pass
    assert not (tmp_path / "made").exists()
