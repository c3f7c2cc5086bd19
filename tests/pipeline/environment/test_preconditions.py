"""What is missing is said before anything is downloaded."""

from __future__ import annotations

import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from pipeline.environment import preconditions
from pipeline.environment.errors import SetupError


@pytest.mark.parametrize(
    ("uv", "ensurepip", "problems"), [(True, False, 0), (False, True, 0), (False, False, 1)]
)
def test_either_uv_or_pip_has_to_be_there(
    uv: bool, ensurepip: bool, problems: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uv:
        program = tmp_path / "bin" / "uv"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho uv 99.0.0\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if not ensurepip:
        monkeypatch.setitem(sys.modules, "ensurepip", None)  # as on a Debian without python3-venv
    found = preconditions.installer_problems(tmp_path)
    assert len(found) == problems
    assert all("expected `uv` on PATH or pip's `ensurepip`" in text for text in found)


def test_this_machine_has_everything_but_perhaps_a_compiler(tmp_path: Path) -> None:
    problems = [*preconditions.python_problems(), *preconditions.platform_problems()]
    assert [*problems, *preconditions.disk_problems(tmp_path, preconditions.DISK_BYTES)] == []


@pytest.mark.parametrize(
    ("version", "problems"), [((3, 10), 1), ((3, 11), 0), ((3, 13), 0), ((3, 14), 1)]
)
def test_pythons_outside_the_range_are_refused(
    version: tuple[int, int], problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    found = preconditions.python_problems()
    assert len(found) == problems
    assert all("expected 3.11 to 3.13" in text for text in found)


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "x86_64"), ("win32", "AMD64"), ("linux", "riscv64")]
)
def test_platforms_without_wheels_are_named(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (problem,) = preconditions.platform_problems()
    assert "Apple silicon" in problem
    assert machine in problem


@pytest.mark.parametrize(
    ("system", "machine", "problems"),
    [("linux", "x86_64", 0), ("linux", "aarch64", 1), ("darwin", "arm64", 1)],
)
def test_platforms_that_tensorflow_has_no_cuda_for_are_told_so(
    system: str, machine: str, problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found = preconditions.gpu_problems()
    assert len(found) == problems
    assert all("expected Linux on x86_64" in text and "Leave out GPU=1" in text for text in found)


@pytest.mark.skipif(sys.platform != "linux", reason="musl is a C library of Linux")
def test_another_c_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "glibc_version", lambda: None)
    (problem,) = preconditions.platform_problems()
    assert "musl" in problem


def test_everything_missing_is_listed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(preconditions, "DISK_BYTES", 10**18)
    with pytest.raises(SetupError) as error:
        preconditions.check_machine(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("Disk: expected 1000000000 GB free")
    assert lines[1].startswith("C++ compiler: expected `no-such-compiler`, found none.")
    assert lines[2].startswith(f"Python headers: expected {tmp_path / 'Python.h'}, found none.")
