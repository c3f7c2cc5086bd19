"""Which uv is taken, and which package index it is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.environment.errors import SetupError
from pipeline.environment.uv import _index_of_pip, _recent, find_uv, uv_on_path

LOCK = Path(__file__).resolve().parents[3] / "requirements.lock"


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo uv 0.13.9 linux", True),
        ("echo uv 1.0.0", True),
        ("echo uv 0.4.30", False),
        ("echo not found >&2; exit 127", False),
        ("true", False),
    ],
)
def test_an_old_or_broken_uv_is_not_taken(script: str, expected: bool, tmp_path: Path) -> None:
    assert _recent(str(_program(tmp_path / "uv", script))) is expected


@pytest.mark.parametrize(("folder", "taken"), [("tools", True), (".venv/bin", False)])
def test_the_uv_on_path_is_taken_but_for_the_one_that_may_be_removed(
    folder: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = _program(tmp_path / folder / "uv", "echo uv 0.13.9")
    monkeypatch.setenv("PATH", str(uv.parent))
    assert uv_on_path(tmp_path) == (uv if taken else None)


def test_a_python_that_can_make_no_environment_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = _program(tmp_path / "python", "echo 'ensurepip is not available'; exit 1")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(SetupError, match=r"with pip to get uv with\.\nensurepip is not available"):
        find_uv(LOCK, tmp_path)


@pytest.fixture
def pip_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's configuration file, the only one that counts; uv has none and no variable is set."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_CERT"))]:
        monkeypatch.delenv(name)
    python = _program(
        tmp_path / "python", f'cat "{tmp_path}/settings"'
    )  # what `pip config list` prints
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "settings").touch()
    return tmp_path / "settings"


def test_pips_index_and_certificates_become_uvs(pip_settings: Path) -> None:
    pip_settings.write_text(
        "global.index-url='https://mirror.test/simple'\nglobal.cert='/etc/ca.pem'\n"
    )
    expected = {"UV_DEFAULT_INDEX": "https://mirror.test/simple", "SSL_CERT_FILE": "/etc/ca.pem"}
    assert _index_of_pip(dict(os.environ)) == expected


def test_a_variable_goes_before_pips_file(
    pip_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_settings.write_text("global.index-url='https://mirror.test/simple'\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.test/simple")
    assert _index_of_pip(dict(os.environ)) == {"UV_DEFAULT_INDEX": "https://other.test/simple"}


@pytest.mark.usefixtures("pip_settings")
def test_where_pip_has_no_settings_uv_keeps_its_own() -> None:
    assert _index_of_pip(dict(os.environ)) == {}


def test_settings_of_uv_go_before_pips(pip_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_settings.write_text("global.index-url='https://mirror.test/simple'\n")
    file = Path(os.environ["XDG_CONFIG_HOME"], "uv", "uv.toml")
    file.parent.mkdir(parents=True)
    file.touch()
    assert _index_of_pip(dict(os.environ)) == {}
    file.unlink()
    monkeypatch.setenv("UV_INDEX_URL", "https://third.test/simple")
    assert _index_of_pip(dict(os.environ)) == {}
