"""The fingerprint of our code: the same for the same sources, another for any change in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.node import cache_key as fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    fingerprint.code_fingerprint.cache_clear()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "model.py").write_text("a = 1\n")
    (tmp_path / "naming.py").write_text("b = 2\n")
    return tmp_path


def digest() -> str:
    fingerprint.code_fingerprint.cache_clear()
    return fingerprint.code_fingerprint("trainer", "naming")


def test_it_follows_every_file(package: Path) -> None:
    first = digest()
    assert digest() == first
    (package / "naming.py").write_text("b = 3\n")
    second = digest()
    assert second != first
    (package / "trainer" / "more.py").write_text("")
    assert digest() != second


def test_what_is_not_asked_for_does_not_count(package: Path) -> None:
    first = digest()
    (package / "report.py").write_text("c = 3\n")
    (package / "trainer" / "notes.md").write_text("no code")
    assert digest() == first


@pytest.mark.usefixtures("package")
def test_a_name_that_is_nothing_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint.code_fingerprint("absent")
