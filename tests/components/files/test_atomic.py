"""Whole-or-nothing writing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.files.atomic import (
    NotAFileError,
    draft_folder,
    new_file,
    new_folder,
    open_regular,
    rename_to_new,
    write_bytes,
    write_text,
)

ROOT = Path(__file__).parents[3]


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "grün")
    write_bytes(tmp_path / "a" / "c.bin", b"\0\1")

    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün".encode()
    assert sorted(item.name for item in (tmp_path / "a").iterdir()) == ["b.txt", "c.bin"]
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\0\1"


def test_a_file_keeps_its_content_when_writing_fails(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def fail_half_way() -> None:
        with new_file(tmp_path / "a.txt") as beside:
            beside.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()

    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_keeps_its_content_when_the_writer_is_killed(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    program = f"""
import os, signal
from components.files.atomic import new_file
with new_file({str(tmp_path / "a.txt")!r}) as beside:
    beside.write_text("ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -signal.SIGKILL

    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "model") as beside:
        (beside / "variables").mkdir()
        (beside / "variables" / "data").write_text("1")
        assert not (tmp_path / "model").exists()

    assert [item.name for item in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "variables" / "data").read_text() == "1"


def test_a_folder_does_not_appear_when_filling_it_fails(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with new_folder(tmp_path / "model") as beside:
            (beside / "data").write_text("1")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "model" / "data", "old")

    with (
        pytest.raises(FileExistsError, match="model exists and is not an empty folder"),
        new_folder(tmp_path / "model") as beside,
    ):
        (beside / "data").write_text("new")

    assert (tmp_path / "model" / "data").read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_renaming_to_a_taken_name_changes_nothing(tmp_path: Path, taken: str) -> None:
    write_text(tmp_path / "new" / "data", "new")
    write_text(tmp_path / "7" if taken == "file" else tmp_path / "7" / "data", "old")

    assert not rename_to_new(tmp_path / "new", tmp_path / "7")

    assert (tmp_path / "new" / "data").read_text() == "new"


def test_renaming_raises_other_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_to_new(tmp_path / "nothing", tmp_path / "7")


def test_a_file_to_lock_is_made_and_never_emptied(tmp_path: Path) -> None:
    with open_regular(tmp_path / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(b"one")
    with open_regular(tmp_path / ".lock") as lock:
        assert lock.read() in (b"", b"one")
        lock.write(b"two")
        lock.seek(0)
        assert lock.read() == b"onetwo"


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    lock, elsewhere = tmp_path / ".lock", tmp_path / "elsewhere"
    if kind == "link":
        elsewhere.write_text("precious")
    if "link" in kind:
        lock.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()

    found = "a link" if "link" in kind else "something else"
    with pytest.raises(NotAFileError, match=rf"{lock}: expected a regular file, found {found}"):
        open_regular(lock)

    assert elsewhere.exists() == (kind == "link")
    assert kind != "link" or elsewhere.read_text() == "precious"


def test_written_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "made" / "answers.csv", "learner_id")
        with new_folder(tmp_path / "model") as beside:
            (beside / "data").touch()
        open_regular(tmp_path / ".lock").close()
    finally:
        os.umask(before)

    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")
    }
    assert modes == {
        "made": 0o750, "made/answers.csv": 0o640, "model": 0o750, "model/data": 0o640,
        ".lock": 0o640,
    }  # fmt: skip


@pytest.mark.parametrize("existing", [True, False])
def test_an_error_leaves_no_draft(tmp_path: Path, existing: bool) -> None:
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "kept").write_text("1")

    def interrupted() -> None:
        with draft_folder(out) as draft:
            (draft / "half").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.rglob("*")] == (["out", "kept"] if existing else [])


def test_files_are_moved_out_of_a_draft(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "out") as draft:
        (draft / "whole").write_text("1")
        (draft / "whole").rename(tmp_path / "out" / "whole")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
