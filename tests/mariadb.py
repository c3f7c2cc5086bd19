"""A MariaDB server for tests, on a free port and a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.debian import codename, unpacked
from tests.ports import free_port, wait_for_port

USER, PASSWORD = "mastery", "not-4-plans"
# The library for asynchronous disk access was renamed when its time became 64 bits wide.
ASYNCHRONOUS_IO = {"bookworm": "libaio1", "jammy": "libaio1"}
PACKAGES = ("mariadb-server-core", "liburing2", "libnuma1")


@dataclass(frozen=True)
class MariaDB:
    """A running server."""

    port: int
    log: Path

    def environment(self, database: str) -> dict[str, str]:
        """Returns the variables that point Mastery at a database on it."""
        return {
            "MASTERY_METADATA_HOST": "127.0.0.1",
            "MASTERY_METADATA_PORT": str(self.port),
            "MASTERY_METADATA_DATABASE": database,
            "MASTERY_METADATA_USER": USER,
            "MASTERY_METADATA_PASSWORD": PASSWORD,
        }


def find_server(cache: Path) -> Path:
    """Returns `mariadbd`: the installed one, else one from packages, unpacked into `cache`."""
    installed = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if installed:
        return Path(installed)
    why = "the tests on MySQL need MariaDB: mariadbd is not on PATH"
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip(f"{why}, and there is no apt to fetch it with")
    release = codename()
    names = [*PACKAGES, ASYNCHRONOUS_IO.get(release, "libaio1t64")]
    return unpacked(cache, release, names, why=why) / "usr" / "sbin" / "mariadbd"


@contextmanager
def serve(mariadbd: Path, folder: Path, port: int | None = None) -> Iterator[MariaDB]:
    """Runs a server on an empty folder until the block ends."""
    usr = mariadbd.resolve().parent.parent
    environment = dict(os.environ)
    if usr != Path("/usr"):
        # Its own process, so the system's C library; only what was unpacked beside it is added.
        found = (*usr.glob("lib/*-linux-gnu*"), *usr.parent.glob("lib/*-linux-gnu*"))
        environment["LD_LIBRARY_PATH"] = ":".join(map(str, found))

    has_mysql = (usr / "share" / "mysql" / "mysql_system_tables.sql").exists()
    scripts = usr / "share" / ("mysql" if has_mysql else "mariadb")
    command = [
        str(mariadbd), "--no-defaults", f"--datadir={folder / 'data'}",
        f"--lc-messages-dir={scripts}", f"--basedir={usr}", "--innodb-log-file-size=8M",
        "--innodb-flush-log-at-trx-commit=0", *(["--user=root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip
    (folder / "data").mkdir()
    _make_system_tables(command, scripts, environment)

    accounts = folder / "accounts.sql"
    accounts.write_text(
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO '{USER}'@'%' "
        "WITH GRANT OPTION;\n"
    )
    port = port or free_port()
    log = folder / "server.log"
    # Paths of socket files must be short; nobody uses this one.
    options = [
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--socket=s",
        f"--init-file={accounts}",
    ]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *options], stdout=output, stderr=output, env=environment
        )
    try:
        wait_for_port(port, server, log)
        yield MariaDB(port, log)
    finally:
        server.terminate()
        server.wait()


def _make_system_tables(command: list[str], scripts: Path, environment: dict[str, str]) -> None:
    names = ("mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data")
    tables = "".join((scripts / f"{name}.sql").read_text() for name in names)
    done = subprocess.run(
        [*command, "--bootstrap"], input=f"CREATE DATABASE mysql;\nUSE mysql;\n{tables}",
        env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
