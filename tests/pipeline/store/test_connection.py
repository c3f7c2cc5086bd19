"""Connections to ML Metadata, on a real server."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ml_metadata import errors
from ml_metadata.proto import metadata_store_pb2

from components.config import Metadata
from pipeline.layout import Layout
from pipeline.store.connection import (
    LOCK,
    MetadataError,
    connect_to_store,
    connection_config,
    explained,
    take_turn,
)
from tests.mariadb import PASSWORD, MariaDB, find_server, serve
from tests.ports import free_port

MYSQL = Metadata(store="mysql")


def connection_to(
    server: MariaDB, database: str, monkeypatch: pytest.MonkeyPatch, **changed: str
) -> metadata_store_pb2.ConnectionConfig:
    for name, value in server.environment(database).items():
        monkeypatch.setenv(name, value)
    for name, value in changed.items():
        monkeypatch.setenv(f"MASTERY_METADATA_{name}", value)
    return connection_config(MYSQL, Layout(Path("/nowhere"), "algebra"))


def test_sqlite_is_a_file_in_the_root(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new", "algebra")
    connect_to_store(connection_config(Metadata(), layout))
    assert layout.metadata.is_file()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "algebra")
    layout.metadata.write_text("no database " * 100)
    with pytest.raises(MetadataError, match=r"metadata\.sqlite: expected ML Metadata's file"):
        connect_to_store(connection_config(Metadata(), layout))


def test_one_process_at_a_time_uses_a_file_and_the_death_of_one_lets_the_next(
    tmp_path: Path,
) -> None:
    connection = connection_config(Metadata(), Layout(tmp_path, "algebra"))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with take_turn(connection):
            os.write(write, b"!")
            time.sleep(60)
        os._exit(0)
    assert os.read(read, 1) == b"!"
    with (tmp_path / LOCK).open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with take_turn(connection):
        pass
    os.close(read)
    os.close(write)


def test_a_server_is_used_by_several_at_a_time() -> None:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.mysql.host = "nowhere"
    with take_turn(connection), take_turn(connection):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_what_one_connection_puts_another_gets(
    mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    connection = connection_to(mariadb, f"both_{len(host)}", monkeypatch, HOST=host)
    kind = connect_to_store(connection).put_artifact_type(
        metadata_store_pb2.ArtifactType(name="Model")
    )
    assert connect_to_store(connection).get_artifact_type("Model").id == kind


def test_the_error_about_a_wrong_password_holds_no_password(
    mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connection_to(mariadb, "algebra", monkeypatch, PASSWORD="a-wrong-one")
    with pytest.raises(MetadataError) as caught:
        connect_to_store(connection, patience=0)
    text = str(caught.value)
    assert f"127.0.0.1:{mariadb.port} refused mastery access to the database algebra" in text
    assert "MASTERY_METADATA_PASSWORD" in text
    assert "a-wrong-one" not in text
    assert PASSWORD not in text


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "refused"), ("nowhere.invalid", "not known|resolution")]
)
def test_a_host_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, host: str, reason: str
) -> None:
    absent = MariaDB(free_port(), Path())
    with pytest.raises(
        MetadataError,
        match=rf"no answer from {host}:{absent.port} within \d s \(.*({reason}).*\); .* algebra\.",
    ) as caught:
        connect_to_store(connection_to(absent, "algebra", monkeypatch, HOST=host), patience=0)
    assert PASSWORD not in str(caught.value)


def test_a_database_that_is_starting_is_waited_for(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert request.config.cache
    server = find_server(request.config.cache.mkdir("mariadb"))
    late = MariaDB(free_port(), tmp_path)
    connection = connection_to(late, "algebra", monkeypatch)
    with pytest.raises(MetadataError):
        connect_to_store(connection, patience=0)
    over = threading.Event()

    def start_late() -> None:
        time.sleep(1)
        with serve(server, tmp_path, port=late.port):
            over.wait()

    thread = threading.Thread(target=start_late)
    thread.start()
    try:
        assert connect_to_store(connection, patience=120).get_artifacts() == []
    finally:
        over.set()
        thread.join()


HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(f"BEGIN {sys.argv[2]}")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_the_error_about_a_locked_file_names_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("pipeline.store.connection.BUSY", 0.1)
    layout = Layout(tmp_path, "algebra")
    connection = connection_config(Metadata(), layout)
    store = connect_to_store(connection)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.metadata), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        locked = rf"metadata\.sqlite: the metadata store is locked by process {holder.pid} \("
        with pytest.raises(MetadataError, match=locked):
            connect_to_store(connection)
        if kind == "IMMEDIATE":  # in the middle of a run, where ML Metadata's own word is "aborted"
            with pytest.raises(MetadataError, match=locked), explained(connection):
                store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
        holder.stdin.close()
    assert connect_to_store(connection).get_artifacts() == []


def test_a_folder_in_the_file_s_place_is_an_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "algebra")
    layout.metadata.mkdir()
    with pytest.raises(
        MetadataError, match=r"metadata\.sqlite: expected a file that can be written, found: unable"
    ):
        connect_to_store(connection_config(Metadata(), layout))


def test_encryption_needs_the_certificate_of_the_authority_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    absent = MariaDB(free_port(), Path())
    connection = connection_to(absent, "algebra", monkeypatch, SSL_CA=str(authority))
    assert connection.mysql.ssl_options.ca == str(authority)
    assert not connection.mysql.ssl_options.verify_server_cert


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("Concurrent writes aborted", "is locked by another process, perhaps on another machine"),
        ("database or disk is full", "no space left on the disk of the metadata store. Make room"),
        ("attempt to write a readonly database", "found: attempt to write a readonly database."),
        ("database disk image is malformed", "expected ML Metadata's file, found: database disk"),
        ("\n something odd.\n more", r"the metadata store failed (something odd)."),
        ("", r"the metadata store failed (no reason given)."),
    ],
)
def test_errors_of_the_file_are_explained(tmp_path: Path, reason: str, says: str) -> None:
    connection = connection_config(Metadata(), Layout(tmp_path, "algebra"))
    with pytest.raises(MetadataError) as caught, explained(connection):
        raise errors.AbortedError(reason)
    assert str(caught.value).startswith(f"{tmp_path}/metadata.sqlite: ")
    assert says in str(caught.value)


def test_a_disk_without_room_is_a_full_one_whatever_sqlite_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1))
    connection = connection_config(Metadata(), Layout(tmp_path, "algebra"))
    with pytest.raises(MetadataError, match="no space left"), explained(connection):
        raise errors.InternalError("disk I/O error")


def test_errors_of_a_server_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = MariaDB(free_port(), Path())
    connection = connection_to(server, "algebra", monkeypatch)
    says = (
        rf"127\.0\.0\.1:{server.port}, database algebra: the metadata store failed \(gone away\)\."
    )
    with pytest.raises(MetadataError, match=says), explained(connection):
        raise errors.UnavailableError("gone away")


def test_a_file_that_ml_metadata_does_not_open_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("schema version 99 is not supported")

    monkeypatch.setattr("pipeline.store.connection.MetadataStore", refuse)
    connection = connection_config(Metadata(), Layout(tmp_path, "algebra"))
    with pytest.raises(MetadataError, match=r"failed \(schema version 99 is not supported\)"):
        connect_to_store(connection)
