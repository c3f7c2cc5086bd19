"""The connection to ML Metadata: a file for one machine, a MySQL or MariaDB server for a cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ml_metadata import MetadataStore, errors
from ml_metadata.proto import metadata_store_pb2

from components.config.runtime import PASSWORD, Metadata
from components.errors import MasteryError
from pipeline.layout import Layout

START_UP = 30.0  # seconds that a database which nobody answers for may still be starting
LOG_IN = 5.0  # seconds for a server that answers but lets nobody in: full, or making its tables for somebody else
BUSY = (
    5.0  # seconds that somebody may hold the SQLite file; a step of ML Metadata takes milliseconds
)
_LITTLE = (
    2**16
)  # bytes; a disk with less left is full for SQLite, which then tells of anything but that
_PAUSE = 1.0
_PROBE = 5.0


class MetadataError(MasteryError):
    """The metadata store cannot be reached."""


def connection_config(settings: Metadata, layout: Layout) -> metadata_store_pb2.ConnectionConfig:
    """Returns how ML Metadata connects.

    Args:
        settings: the section `metadata`, as the file has it; the environment's values are put in.
        layout: the place of the SQLite file.

    Raises:
        ConfigError: a value is missing or does not fit.
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
        # The client takes `localhost` for a socket file, and then has no use for the port.
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


def connect(
    connection: metadata_store_pb2.ConnectionConfig, *, patience: float | None = None
) -> MetadataStore:
    """Connects to the store, and waits for one that is not there yet.

    Args:
        connection: what `connection_config` returned.
        patience: seconds to wait; default: `START_UP` for a server that does not answer, `LOG_IN` for one that does
            but lets nobody in.

    Raises:
        MetadataError: the store cannot be used; the text names host and database, never the password.
    """
    if not connection.HasField("mysql"):
        return _open_file(connection)
    started = time.monotonic()
    while True:
        try:
            return MetadataStore(connection)
        except RuntimeError:
            silence = _silence(connection.mysql)
            waited = time.monotonic() - started
            if waited >= (patience if patience is not None else START_UP if silence else LOG_IN):
                raise MetadataError(_explain(connection.mysql, silence, waited)) from None
        time.sleep(_PAUSE)


@contextmanager
def explained(connection: metadata_store_pb2.ConnectionConfig) -> Iterator[None]:
    """Returns a block in which what the store refuses is a `MetadataError` for people.

    Raises:
        MetadataError: the store is locked, full, or cannot be written to or reached any more.
    """
    try:
        yield
    except errors.StatusError as error:
        raise MetadataError(_say_status(connection, str(error))) from error


def _open_file(connection: metadata_store_pb2.ConnectionConfig) -> MetadataStore:
    file = Path(connection.sqlite.filename_uri)
    _check_file(file)
    try:
        return MetadataStore(connection)
    except RuntimeError as error:
        raise MetadataError(_say_status(connection, str(error))) from None


def _check_file(file: Path) -> None:
    """Tries to write to the SQLite file: ML Metadata itself would try for half a minute, and not say what is wrong."""
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=BUSY, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise MetadataError(_say_refused(file, str(error))) from None


def _say_status(connection: metadata_store_pb2.ConnectionConfig, text: str) -> str:
    """Returns what ML Metadata's error means to people."""
    if connection.HasField("mysql"):
        mysql = connection.mysql
        return f"{mysql.host}:{mysql.port}, database {mysql.database}: the metadata store failed ({_first_line(text)})."
    file = Path(connection.sqlite.filename_uri)
    if "Concurrent writes aborted" in text:
        return _say_refused(file, "database is locked")
    return _say_refused(file, _first_line(text))


def _say_refused(file: Path, reason: str) -> str:
    if "locked" in reason:
        holders = _who_locks(file)
        who = (
            f"process {', '.join(holders)}"
            if holders
            else "another process, perhaps on another machine"
        )
        return f"{file}: the metadata store is locked by {who}. Wait for it or end it, then give the command again."
    if "full" in reason or shutil.disk_usage(file.parent).free < _LITTLE:
        return f"{file}: no space left on the disk of the metadata store. Make room, then give the command again."
    if "readonly" in reason or "unable to open" in reason:
        return f"{file}: expected a file that can be written, found: {reason}. Give this user the right to it."
    if "not a database" in reason or "malformed" in reason:
        return f"{file}: expected ML Metadata's file, found: {reason}. Bring a good copy back, or give another --root."
    return f"{file}: the metadata store failed ({reason})."


def _who_locks(file: Path) -> list[str]:
    """Returns the processes that hold a lock for writing on a file, as `123 (name)`; none where that is not known."""
    try:
        inode = str(file.stat().st_ino)
        lines = [
            line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()
        ]
    except OSError:
        return []
    pids = {line[-4] for line in lines if "WRITE" in line and line[-3].rpartition(":")[2] == inode}
    return [f"{pid}{_name_of(pid)}" for pid in sorted(pids - {"-1", str(os.getpid())})]


def _name_of(pid: str) -> str:
    try:
        return (
            f" ({Path('/proc', pid, 'comm').read_text(encoding='utf-8', errors='replace').strip()})"
        )
    except OSError:
        return ""


def _first_line(text: str) -> str:
    return next(
        (line.strip() for line in text.splitlines() if line.strip()), "no reason given"
    ).rstrip(".")


def _silence(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str | None:
    """Returns why nobody answers at the server's address, None if somebody does; ML Metadata does not tell."""
    try:
        socket.create_connection((mysql.host, mysql.port), timeout=_PROBE).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _explain(
    mysql: metadata_store_pb2.MySQLDatabaseConfig, silence: str | None, waited: float
) -> str:
    address = f"{mysql.host}:{mysql.port}"
    if silence:
        return (
            f"metadata.host: expected MySQL or MariaDB at {address} for the database {mysql.database}, "
            f"found no answer within {waited:.0f} s ({silence}). Start it, or correct metadata.host and "
            "metadata.port (MASTERY_METADATA_HOST, MASTERY_METADATA_PORT)."
        )
    return (
        f"metadata.user: expected {address} to let {mysql.user} into the database {mysql.database}, found it refused. "
        f"Check metadata.user, metadata.database and the password in {PASSWORD}. The user needs all rights on "
        "the database, and a password of the kind mysql_native_password, the only one that ML Metadata knows."
    )
