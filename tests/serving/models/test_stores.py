"""Links that somebody laid into a serving folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.files.atomic import NotAFileError
from components.files.safe_paths import UnsafePathError
from serving.models import promotion
from serving.models.stores import LocalStorage
from tests.serving.models.folders import labels


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("precious, and no line's end")
    return file


@pytest.mark.parametrize("name", [".models.lock", "audit.jsonl"])
def test_a_link_is_neither_emptied_nor_written_to(folder: Path, precious: Path, name: str) -> None:
    (folder / name).symlink_to(precious)
    with pytest.raises(NotAFileError, match=rf"{name}: expected a file of ours, found a link"):
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
