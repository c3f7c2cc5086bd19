"""Problems of a machine, listed before anything is downloaded."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from pipeline.environment import machine
from pipeline.environment.machine import SetupError, is_recent_uv, output_of, uv_on_path
from tests.pipeline.environment.scripts import program


@pytest.mark.parametrize(
    ("uv", "ensurepip", "problems"), [(True, False, 0), (False, True, 0), (False, False, 1)]
)
def test_either_uv_or_pip_is_required(
    uv: bool, ensurepip: bool, problems: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uv:
        program(tmp_path / "bin" / "uv", "echo uv 99.0.0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if not ensurepip:
        monkeypatch.setitem(sys.modules, "ensurepip", None)  # as on a Debian without python3-venv
    found = machine.installer_problems(tmp_path)
    assert len(found) == problems
    assert all("expected `uv` on PATH or pip's `ensurepip`" in text for text in found)


def test_this_machine_has_everything_but_perhaps_a_compiler(tmp_path: Path) -> None:
    problems = [*machine.python_problems(), *machine.platform_problems()]
    assert [*problems, *machine.disk_problems(tmp_path, machine.DISK_BYTES)] == []


@pytest.mark.parametrize(
    ("version", "problems"), [((3, 10), 1), ((3, 11), 0), ((3, 13), 0), ((3, 14), 1)]
)
def test_pythons_outside_the_range_are_refused(
    version: tuple[int, int], problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    found = machine.python_problems()
    assert len(found) == problems
    assert all("expected 3.11 to 3.13" in text for text in found)


@pytest.mark.parametrize(
    ("system", "processor"), [("darwin", "x86_64"), ("win32", "AMD64"), ("linux", "riscv64")]
)
def test_platforms_without_wheels_are_named(
    system: str, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    (problem,) = machine.platform_problems()
    assert "Apple silicon" in problem
    assert processor in problem


@pytest.mark.parametrize(
    ("system", "processor", "problems"),
    [("linux", "x86_64", 0), ("linux", "aarch64", 1), ("darwin", "arm64", 1)],
)
def test_platforms_without_cuda_wheels_are_named(
    system: str, processor: str, problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    found = machine.gpu_problems()
    assert len(found) == problems
    assert all("expected Linux on x86_64" in text and "Leave out GPU=1" in text for text in found)


@pytest.mark.skipif(sys.platform != "linux", reason="musl is a C library of Linux")
def test_another_c_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "glibc_version", lambda: None)
    (problem,) = machine.platform_problems()
    assert "musl" in problem


def test_everything_missing_is_listed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(machine, "DISK_BYTES", 10**18)
    with pytest.raises(SetupError) as error:
        machine.check_machine(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("Disk: expected 1000000000 GB free")
    assert lines[1].startswith("C++ compiler: expected `no-such-compiler`, found none.")
    assert lines[2].startswith(f"Python headers: expected {tmp_path / 'Python.h'}, found none.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("glibc 2.36", (2, 36)), ("glibc 2.41\n", (2, 41)), ("glibc 2.4.1", (2, 4, 1))],
)
def test_versions_are_numbers(text: str, expected: tuple[int, ...]) -> None:
    assert machine.parse_version(text) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((2, 36), True),
        ((2, 37), True),
        ((2, 38), False),
        ((2, 41), False),
        ((3, 0), False),
        (None, False),
    ],
)
def test_only_a_glibc_older_than_the_wheels_needs_another(
    version: tuple[int, ...] | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "glibc_version", lambda: version)
    assert machine.needs_own_glibc() is expected


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
    assert is_recent_uv(str(program(tmp_path / "uv", script))) is expected


@pytest.mark.parametrize(("folder", "taken"), [("tools", True), (".venv/bin", False)])
def test_the_uv_on_path_is_taken_but_for_the_one_that_may_be_removed(
    folder: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = program(tmp_path / folder / "uv", "echo uv 0.13.9")
    monkeypatch.setenv("PATH", str(uv.parent))
    assert uv_on_path(tmp_path) == (uv if taken else None)


def test_a_program_that_fails_is_an_error_in_its_own_words(tmp_path: Path) -> None:
    failing = program(tmp_path / "tool", "echo no network >&2; exit 3")
    with pytest.raises(SetupError, match=r"^It could not be fetched\.\nno network$"):
        output_of(failing, problem="It could not be fetched.")
    assert output_of("pwd", problem="", cwd=tmp_path) == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("system", "manager", "says"),
    [
        ("darwin", None, "Run: xcode-select --install"),
        ("linux", "apt-get", "Run as root: apt-get install g++"),
        ("linux", "dnf", "Run as root: dnf install gcc-c++"),
        ("linux", None, "Install what your system calls g++."),
    ],
)
def test_how_to_get_what_is_missing_depends_on_the_system(
    system: str, manager: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if manager:
        program(tmp_path / manager, "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(sys, "platform", system)
    assert machine.compiler_problems()[0].endswith(says)


def test_a_system_without_glibc_has_no_version_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise ValueError(name)

    monkeypatch.setattr(os, "confstr", unknown)
    assert machine.glibc_version() is None
    assert not machine.needs_own_glibc()
