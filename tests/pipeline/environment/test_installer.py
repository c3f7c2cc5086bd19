"""The uv that is taken, the package index that it uses, and the contents of the lock files."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.environment.installer import (
    find_uv,
    hashed_requirements,
    index_of_pip,
    read_lock,
)
from pipeline.environment.machine import SetupError
from tests.pipeline.environment.scripts import program

ROOT = Path(__file__).resolve().parents[3]
LOCK, GPU_LOCK = ROOT / "requirements.lock", ROOT / "requirements-gpu.lock"
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def test_the_error_about_a_python_without_venv_quotes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = program(tmp_path / "python", "echo 'ensurepip is not available'; exit 1")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(SetupError, match=r"with pip to get uv with\.\nensurepip is not available"):
        find_uv(LOCK, tmp_path)


@pytest.fixture
def pip_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's configuration file, the only one that counts; uv has none and no variable is set."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_CERT"))]:
        monkeypatch.delenv(name)
    # Prints what `pip config list` prints.
    python = program(tmp_path / "python", f'cat "{tmp_path}/settings"')
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "settings").touch()
    return tmp_path / "settings"


def test_pips_index_and_certificates_become_uvs(pip_settings: Path) -> None:
    pip_settings.write_text(
        "global.index-url='https://mirror.test/simple'\nglobal.cert='/etc/ca.pem'\n"
    )
    expected = {"UV_DEFAULT_INDEX": "https://mirror.test/simple", "SSL_CERT_FILE": "/etc/ca.pem"}
    assert index_of_pip(dict(os.environ)) == expected


def test_a_variable_wins_over_pips_file(
    pip_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_settings.write_text("global.index-url='https://mirror.test/simple'\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.test/simple")
    assert index_of_pip(dict(os.environ)) == {"UV_DEFAULT_INDEX": "https://other.test/simple"}


@pytest.mark.usefixtures("pip_settings")
def test_where_pip_has_no_settings_uv_keeps_its_own() -> None:
    assert index_of_pip(dict(os.environ)) == {}


def test_settings_of_uv_win_over_pips(pip_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_settings.write_text("global.index-url='https://mirror.test/simple'\n")
    file = Path(os.environ["XDG_CONFIG_HOME"], "uv", "uv.toml")
    file.parent.mkdir(parents=True)
    file.touch()
    assert index_of_pip(dict(os.environ)) == {}
    file.unlink()
    monkeypatch.setenv("UV_INDEX_URL", "https://third.test/simple")
    assert index_of_pip(dict(os.environ)) == {}


def test_without_a_uv_the_locked_one_is_installed_by_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = program(tmp_path / "pip", f'echo "$@" > "{tmp_path}/called"')
    make = f'[ "$2" != venv ] || {{ mkdir -p "$3/bin" && cp "{pip}" "$3/bin/python"; }}'
    python = program(tmp_path / "python", make)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    find_uv(LOCK, tmp_path)
    called = (tmp_path / "called").read_text()
    assert called.startswith("-m pip install --require-hashes ")
    assert (tmp_path / "uv.txt").read_text() == hashed_requirements(LOCK, "uv")


@pytest.mark.parametrize(("path", "least"), [(LOCK, 150), (GPU_LOCK, 12)])
def test_every_package_is_pinned_by_hash(path: Path, least: int) -> None:
    pins = read_lock(path)
    assert len(pins) >= least
    assert [pin.name for pin in pins if not SHA256.search("\n".join(pin.lines))] == []


@pytest.mark.parametrize("path", [LOCK, GPU_LOCK])
def test_lock_files_name_no_host_and_no_folder(path: Path) -> None:
    forbidden = ("://", "file:", "--index", "--extra-index", "--find-links", "--trusted-host", " /")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if any(text in line for text in forbidden)] == []


def test_the_lock_satisfies_everything_in_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        Requirement(text)
        for text in project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    ]
    locked = {pin.name: pin.version for pin in read_lock(LOCK)}
    assert [
        str(item) for item in wanted if not item.specifier.contains(locked.get(item.name, "0"))
    ] == []


def test_cuda_s_libraries_fit_the_locked_tensorflow_and_are_in_their_own_lock_only() -> None:
    gpu = {pin.name: pin for pin in read_lock(GPU_LOCK)}
    asked = [
        Requirement(text)
        for text in importlib.metadata.requires("tensorflow") or []
        if "and-cuda" in text
    ]
    assert [
        str(item) for item in asked if not item.specifier.contains(gpu[item.name].version)
    ] == []
    assert {*gpu} == {item.name for item in asked}
    assert all("x86_64" in pin.marker and "linux" in pin.marker for pin in gpu.values())
    assert not {*gpu} & {pin.name for pin in read_lock(LOCK)}


def test_a_block_is_read_with_its_marker_and_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# made by a tool\n"
        "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via two\n"
        "two==2.0rc1 ; python_full_version < '3.12' \\\n    --hash=sha256:cc\n",
        encoding="utf-8",
    )
    one, two = read_lock(lock)
    assert (one.name, one.version, one.marker) == ("one", "1.0", "")
    assert (two.name, two.version, two.marker) == ("two", "2.0rc1", "python_full_version < '3.12'")
    pinned = "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    assert hashed_requirements(lock, "one") == pinned


def test_a_line_that_pins_nothing_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("one>=1.0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected `name==version`, found 'one>=1\.0'"):
        read_lock(lock)


def test_a_package_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-package"):
        hashed_requirements(LOCK, "no-such-package")
