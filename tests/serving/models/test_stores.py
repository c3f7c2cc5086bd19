"""A serving folder on this machine: links that others placed in it, locks, full disks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from components.errors import MasteryError
from components.files.atomic import NotAFileError
from components.files.safe_paths import UnsafePathError
from serving.models import promotion, stores
from serving.models.stores import LocalStorage, open_storage
from tests.serving.models.folders import labels


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("precious, and no line's end")
    return file


@pytest.mark.parametrize("name", [".models.lock", "audit.jsonl"])
def test_a_link_is_neither_emptied_nor_written_to(folder: Path, precious: Path, name: str) -> None:
    (folder / name).symlink_to(precious)
    with pytest.raises(NotAFileError, match=rf"{name}: expected a regular file, found a link"):
        promotion.promote(LocalStorage(folder), 1)
    assert precious.read_text() == "precious, and no line's end"
    assert not (folder / "models.config").exists()


@pytest.mark.parametrize("name", ["models.config", "routing.json"])
def test_a_link_gives_way_to_the_file_that_is_written(
    folder: Path, precious: Path, name: str
) -> None:
    promotion.promote(LocalStorage(folder), 1)
    (folder / name).rename(precious)
    (folder / name).symlink_to(precious)
    before = precious.read_text()
    promotion.promote(LocalStorage(folder), 2)
    assert precious.read_text() == before
    assert not (folder / name).is_symlink()
    assert labels(LocalStorage(folder)) == {"stable": 2}


def test_a_linked_folder_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "3").mkdir(parents=True)
    (folder / "gpu").symlink_to(elsewhere)
    with pytest.raises(UnsafePathError, match=r"found a link at .*gpu"):
        LocalStorage(folder).replace("gpu/models.config", b"x")
    with pytest.raises(UnsafePathError, match=r"found a link at .*gpu"):
        LocalStorage(folder).remove(3)
    assert [item.name for item in elsewhere.iterdir()] == ["3"]


def test_a_version_that_is_a_link_is_removed_and_not_what_it_links_to(
    folder: Path, precious: Path
) -> None:
    (folder / "5").symlink_to(precious.parent)
    LocalStorage(folder).remove(5)
    assert precious.exists()
    assert not (folder / "5").is_symlink()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasteryError) as caught:
        open_storage(str(tmp_path / "serving"))
    assert str(caught.value) == (
        f"{tmp_path}/serving: expected the folder that versions are pushed to, found none. "
        "`mastery run` makes it with the first push; --models DIR_OR_URL names another one."
    )


def test_a_change_waits_for_another_one_and_gives_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PATIENCE", 0.05)
    with (
        LocalStorage(folder).exclusive(),
        pytest.raises(MasteryError, match=r"another `mastery models` has been changing it for 0 s"),
    ):
        promotion.promote(LocalStorage(folder), 1)
    promotion.promote(LocalStorage(folder), 1)
    assert labels(LocalStorage(folder)) == {"stable": 1}


def test_two_entries_cannot_have_the_same_number(folder: Path) -> None:
    storage = LocalStorage(folder)
    assert storage.append(1, b"{}")
    assert not storage.append(1, b"{}")
    assert storage.append(2, b"{}")
    assert storage.entries() == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "No space left on device; make room and try again."),
        (errno.EACCES, "Permission denied; give this user the right to write and try again."),
    ],
)
def test_errors_of_the_operating_system_are_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    storage = LocalStorage(folder)
    storage.append(1, b"{}")

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(MasteryError) as caught:
        storage.append(2, b"{}")
    assert str(caught.value) == f"{folder}: could not write there: {reason}"
    assert storage.entries() == [b"{}"]


def test_a_half_written_line_is_removed_when_the_disk_is_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, path: Path) -> None:
            self.file = path.open("ab+")

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def readall(self) -> bytes:
            return self.file.read()

        def write(self, line: bytes) -> int:
            self.file.write(line[:5])
            self.file.flush()
            return 5

    storage = LocalStorage(folder)
    storage.append(1, b"{}")
    monkeypatch.setattr(stores, "open_regular", Full)
    with pytest.raises(MasteryError, match="No space left on device; make room"):
        storage.append(2, b'{"revision": 2}')
    assert (folder / "audit.jsonl").read_bytes() == b"{}\n"
