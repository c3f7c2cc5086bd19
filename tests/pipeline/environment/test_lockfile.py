"""The lock file as pip and uv read it, and our reading of it."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.environment.lockfile import hashed_requirements, read_lock

ROOT = Path(__file__).resolve().parents[3]
LOCK, GPU_LOCK = ROOT / "requirements.lock", ROOT / "requirements-gpu.lock"
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


@pytest.mark.parametrize(("path", "least"), [(LOCK, 150), (GPU_LOCK, 12)])
def test_every_package_is_pinned_by_hash(path: Path, least: int) -> None:
    pins = read_lock(path)
    assert len(pins) >= least
    assert [pin.name for pin in pins if not SHA256.search("\n".join(pin.lines))] == []


@pytest.mark.parametrize("path", [LOCK, GPU_LOCK])
def test_names_no_host_and_no_folder(path: Path) -> None:
    forbidden = ("://", "file:", "--index", "--extra-index", "--find-links", "--trusted-host", " /")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if any(text in line for text in forbidden)] == []


def test_satisfies_everything_that_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        Requirement(text)
        for text in project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    ]
    locked = {pin.name: pin.version for pin in read_lock(LOCK)}
    assert [
        str(item) for item in wanted if not item.specifier.contains(locked.get(item.name, "0"))
    ] == []


def test_cuda_s_libraries_fit_the_tensorflow_that_is_locked_and_are_nowhere_else() -> None:
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
    assert (
        hashed_requirements(lock, "one")
        == "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    )


def test_a_line_that_pins_nothing_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("one>=1.0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected `name==version`, found 'one>=1\.0'"):
        read_lock(lock)


def test_a_package_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-package"):
        hashed_requirements(LOCK, "no-such-package")
