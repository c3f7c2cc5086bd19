"""The connection to ML Metadata: a file for one machine, a MySQL or MariaDB server for a cluster."""

from __future__ import annotations

import os
import socket
import time

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.config.metadata import PASSWORD, Metadata
from components.errors import MasteryError
from pipeline.layout import Layout

START_UP = 30.0  # seconds that a database which nobody answers for may still be starting
LOG_IN = 5.0  # seconds for a server that answers but lets nobody in: full, or making its tables for somebody else
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
        sqlite = metadata_store_pb2.SqliteMetadataSourceConfig(filename_uri=str(layout.metadata), connection_mode=mode)
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


def connect(connection: metadata_store_pb2.ConnectionConfig, *, patience: float | None = None) -> MetadataStore:
    """Connects to the store, and waits for one that is not there yet.

    Args:
        connection: what `connection_config` returned.
        patience: seconds to wait; default: `START_UP` for a server that does not answer, `LOG_IN` for one that does
            but lets nobody in.

    Raises:
        MetadataError: the store cannot be used; the text names host and database, never the password.
    """
    started = time.monotonic()
    while True:
        try:
            return MetadataStore(connection)
        except RuntimeError as error:
            if not connection.HasField("mysql"):
                raise MetadataError(f"{connection.sqlite.filename_uri}: expected ML Metadata's file. {error}") from None
            silence = _silence(connection.mysql)
            waited = time.monotonic() - started
            if waited >= (patience if patience is not None else START_UP if silence else LOG_IN):
                raise MetadataError(_explain(connection.mysql, silence, waited)) from None
        time.sleep(_PAUSE)


def _silence(mysql: metadata_store_pb2.MySQLDatabaseConfig) -> str | None:
    """Returns why nobody answers at the server's address, None if somebody does; ML Metadata does not tell."""
    try:
        socket.create_connection((mysql.host, mysql.port), timeout=_PROBE).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _explain(mysql: metadata_store_pb2.MySQLDatabaseConfig, silence: str | None, waited: float) -> str:
    address = f"{mysql.host}:{mysql.port}"
    if silence:
        return (
            f"metadata.host: expected MySQL or MariaDB at {address} for the database {mysql.database}, "
            f"found nobody who answers in {waited:.0f} s ({silence}). Start it, or correct metadata.host and "
            "metadata.port (MASTERY_METADATA_HOST, MASTERY_METADATA_PORT)."
        )
    return (
        f"metadata.user: expected {address} to let {mysql.user} into the database {mysql.database}, found it refused. "
        f"Check metadata.user, metadata.database and the password in {PASSWORD}. The user needs all rights on "
        "the database, and a password of the kind mysql_native_password, the only one that ML Metadata knows."
    )
