"""The connection to ML Metadata: a file on one machine, a MySQL or MariaDB server on a cluster."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ml_metadata import MetadataStore, errors
from ml_metadata.proto import metadata_store_pb2

from components.config.runtime import PASSWORD, Metadata
from components.errors import MasteryError
from components.files.atomic import open_regular

if TYPE_CHECKING:
    from pipeline.layout import Layout

LOCK = ".metadata.lock"  # beside the SQLite file: its holder alone uses that file
START_UP = 30.0  # seconds to wait for a server that does not answer: it may still be starting
LOG_IN = 5.0  # seconds to wait for a server that answers and refuses: full, or making its tables
BUSY = 5.0  # seconds to wait for a locked SQLite file; ML Metadata's own steps take milliseconds
_FULL = 2**16  # bytes; a disk with less free space counts as full, which SQLite may not say
_PAUSE = 1.0  # seconds between two attempts to connect
_PROBE = 5.0  # seconds to wait for an open port


class MetadataError(MasteryError):
    """The metadata store cannot be used."""


def connection_config(settings: Metadata, layout: Layout) -> metadata_store_pb2.ConnectionConfig:
    """Returns how ML Metadata connects.

    Args:
        settings: the section `metadata` of the configuration; values of the environment are added.
        layout: where the SQLite file is.

    Raises:
        ConfigError: a value is missing or not allowed.
    """
    settings = settings.with_environment(os.environ)
    if settings.store == "sqlite":
        layout.metadata.parent.mkdir(parents=True, exist_ok=True)
        mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        sqlite = metadata_store_pb2.SqliteMetadataSourceConfig(
            filename_uri=str(layout.metadata), connection_mode=mode
        )
        return metadata_store_pb2.ConnectionConfig(sqlite=sqlite)

    mysql = metadata_store_pb2.MySQLDatabaseConfig(
        # The client takes `localhost` for a socket file and then ignores the port.
        host="127.0.0.1" if settings.host == "localhost" else settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        password=os.environ[PASSWORD],
    )
    if settings.ssl_ca:
        # Not verify_server_cert: the client of ml-metadata 1.21 then refuses every certificate.
        mysql.ssl_options.ca = settings.ssl_ca
    return metadata_store_pb2.ConnectionConfig(mysql=mysql)


def connect_to_store(
    connection: metadata_store_pb2.ConnectionConfig, *, patience: float | None = None
) -> MetadataStore:
    """Connects to the store; waits for a server that is still starting.

    Args:
        connection: what `connection_config` returned.
        patience: seconds to wait; by default `START_UP` for a server that does not answer, and
            `LOG_IN` for one that answers and refuses the log-in.

    Raises:
        MetadataError: the store cannot be used; the text names host and database, never the
            password.
    """
    if not connection.HasField("mysql"):
        return _open_file(connection)

    started = time.monotonic()
    while True:
        try:
            return MetadataStore(connection)
        except RuntimeError:
            unreachable = _why_unreachable(connection.mysql)
            default = START_UP if unreachable else LOG_IN
            waited = time.monotonic() - started
            if waited >= (default if patience is None else patience):
                text = _explain_server(connection.mysql, unreachable, waited)
                raise MetadataError(text) from None
        time.sleep(_PAUSE)


@contextmanager
def explained(connection: metadata_store_pb2.ConnectionConfig) -> Iterator[None]:
    """Turns errors of ML Metadata inside the block into a `MetadataError`.

    Raises:
        MetadataError: the store is locked, full, not writable or not reachable any more.
    """
    try:
        yield
    except errors.StatusError as error:
        raise MetadataError(_explain_status(connection, str(error))) from error


@contextmanager
def take_turn(connection: metadata_store_pb2.ConnectionConfig) -> Iterator[None]:
    """Keeps other processes of a run off the store inside the block; does nothing for a server.

    SQLite lets one process write at a time, and ML Metadata gives up after a few attempts.

    Raises:
        MetadataError: the file of the lock cannot be written.
    """
    if connection.HasField("mysql"):
        yield
        return

    store = Path(connection.sqlite.filename_uri)
    try:
        file = open_regular(store.with_name(LOCK))
    except OSError as error:
        raise MetadataError(_explain_file(store, str(error))) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open_file(connection: metadata_store_pb2.ConnectionConfig) -> MetadataStore:
    file = Path(connection.sqlite.filename_uri)
    _check_file(file)
    try:
        return MetadataStore(connection)
    except RuntimeError as error:
        raise MetadataError(_explain_status(connection, str(error))) from None


def _check_file(file: Path) -> None:
    """Locks the SQLite file for a moment: ML Metadata retries for 30 s, and names no reason."""
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=BUSY, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise MetadataError(_explain_file(file, str(error))) from None


def _explain_status(connection: metadata_store_pb2.ConnectionConfig, text: str) -> str:
    """Returns what an error of ML Metadata means."""
    reason = _first_line(text)
    if connection.HasField("mysql"):
        mysql = connection.mysql
        server = f"{mysql.host}:{mysql.port}, database {mysql.database}"
        return f"{server}: the metadata store failed ({reason})."
    if "Concurrent writes aborted" in text:
        reason = "database is locked"
    return _explain_file(Path(connection.sqlite.filename_uri), reason)


def _explain_file(file: Path, reason: str) -> str:
    if "locked" in reason:
        holders = _lock_holders(file)
        elsewhere = "another process, perhaps on another machine"
        who = f"process {', '.join(holders)}" if holders else elsewhere
        what, advice = f"the metadata store is locked by {who}", "Wait for it or end it"
        return f"{file}: {what}. {advice}, then run the command again."

    if "full" in reason or shutil.disk_usage(file.parent).free < _FULL:
        what = "no space left on the disk of the metadata store"
        return f"{file}: {what}. Make room, then run the command again."

    if "readonly" in reason or "unable to open" in reason:
        what = f"expected a file that can be written, found: {reason}"
        return f"{file}: {what}. Give this user the right to write it."

    if "not a database" in reason or "malformed" in reason:
        what = f"expected ML Metadata's file, found: {reason}"
        return f"{file}: {what}. Restore a good copy, or give another --root."

    return f"{file}: the metadata store failed ({reason})."


def _lock_holders(file: Path) -> list[str]:
    """Returns the processes with a write lock on a file, as `123 (name)`; none where unknown."""
    try:
        inode = str(file.stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []

    holders = set()
    for line in lines:  # 1: POSIX ADVISORY WRITE 4711 08:01:1234 0 EOF
        fields = line.split()
        if "WRITE" in fields and fields[-3].rpartition(":")[2] == inode:
            holders.add(fields[-4])
    return [f"{pid}{_name_of(pid)}" for pid in sorted(holders - {"-1", str(os.getpid())})]


def _name_of(pid: str) -> str:
    try:
        name = Path("/proc", pid, "comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return f" ({name.strip()})"


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next(filter(None, lines), "no reason given").rstrip(".")


def _why_unreachable(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str | None:
    """Returns why the server's port cannot be reached, or None if it can; ML Metadata hides it."""
    try:
        socket.create_connection((mysql.host, mysql.port), timeout=_PROBE).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _explain_server(
    mysql: metadata_store_pb2.MySQLDatabaseConfig, unreachable: str | None, waited: float
) -> str:
    address = f"{mysql.host}:{mysql.port}"
    if unreachable:
        return (
            f"metadata.host: no answer from {address} within {waited:.0f} s ({unreachable}); "
            f"MySQL or MariaDB has to run there with the database {mysql.database}. Start it, or "
            "correct metadata.host and metadata.port (MASTERY_METADATA_HOST, "
            "MASTERY_METADATA_PORT)."
        )

    return (
        f"metadata.user: {address} refused {mysql.user} access to the database {mysql.database}. "
        f"Check metadata.user, metadata.database and the password in {PASSWORD}. The user needs "
        "all rights on the database, and a password of the kind mysql_native_password, the only "
        "one that ML Metadata supports."
    )
