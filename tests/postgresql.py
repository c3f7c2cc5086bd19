"""A PostgreSQL server for tests: the installed one, or one unpacked from packages."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.debian import codename, library_path, unpacked_with_dependencies
from tests.ports import free_port, wait_for_port

USER = "mastery"
VERSIONS = {"bookworm": 15, "trixie": 17, "jammy": 14, "noble": 16}
INSTALLED = "/usr/lib/postgresql"


@dataclass(frozen=True)
class Programs:
    """The server's programs, and folders of libraries that the system does not have."""

    folder: Path
    libraries: str = ""


@dataclass(frozen=True)
class PostgreSQL:
    """A running server, which lets `USER` in without a password."""

    port: int
    programs: Programs

    @property
    def url(self) -> str:
        """The address of the database `postgres`."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"


def find_programs(cache: Path) -> Programs:
    """Returns where `initdb` and `postgres` are; skips, with the reason, where there are none."""
    installed = sorted(Path(INSTALLED).glob("*/bin/initdb"))
    if installed:
        return Programs(installed[-1].parent)

    why = f"the tests on PostgreSQL need its server, and there is none below {INSTALLED}"
    version = VERSIONS.get(codename())
    if version is None:
        pytest.skip(f"{why} and no package is known for this distribution")
    root = unpacked_with_dependencies(cache, [f"postgresql-{version}"], why=why)
    return Programs(root / INSTALLED[1:] / str(version) / "bin", library_path(root))


@contextmanager
def serve(programs: Programs, folder: Path) -> Iterator[PostgreSQL]:
    """Runs a server on an empty folder until the block ends."""
    owner = _unprivileged_user()
    if owner:
        _hand_over(folder, owner)
    environment = {**os.environ, "LC_ALL": "C", "LD_LIBRARY_PATH": programs.libraries}

    data = folder / "data"
    port = free_port()
    initialise = [
        programs.folder / "initdb", "--pgdata", data, "--username", USER, "--auth", "trust",
        "--encoding", "UTF8", "--no-sync",
    ]  # fmt: skip
    done = subprocess.run(
        initialise,
        env=environment,
        user=owner,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    log = folder / "server.log"
    command = [programs.folder / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1"]
    options = ["-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *options],
            env=environment,
            user=owner,
            cwd="/",
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_port(port, server, log)
        yield PostgreSQL(port, programs)
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for clients, as it does by default
        server.wait()


def _unprivileged_user() -> str | None:
    """Returns the user to run PostgreSQL as instead of root, which it refuses."""
    return "nobody" if os.geteuid() == 0 else None


def _hand_over(folder: Path, owner: str) -> None:
    account = pwd.getpwnam(owner)
    shutil.chown(folder, account.pw_uid, account.pw_gid)
    for parent in folder.parents:  # a folder of pytest's is closed to others
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
