"""Settings for every test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import settings

from tests import chromium, flink, mlflow_server, skips
from tests import mariadb as maria
from tests import postgresql as postgres
from tests import ralph as record_store
from tests.gcs import serve_gcs
from tests.s3 import Bucket

# TensorFlow's greetings do not belong into a failed test's output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

settings.register_profile("mastery", deadline=None)  # a busy machine is no failure
settings.load_profile("mastery")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starts with the files of slow tests, so that no process ends the suite alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skip into a failure in CI, unless its reason is accepted there."""
    report = yield
    return _without_skip_in_ci(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Does the same for a whole file that is skipped."""
    report = yield
    return _without_skip_in_ci(report)


def _without_skip_in_ci(report: Report) -> Report:
    if not report.skipped or hasattr(report, "wasxfail"):
        return report

    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if skips.is_failure(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI for a reason that tests/skips.py does not list: {reason}"
    return report


@pytest.fixture(scope="session")
def mariadb(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[maria.MariaDB]:
    """A MariaDB server for the metadata store; skips, with the reason, where there is none."""
    server = maria.find_server(request.config.cache.mkdir("mariadb"))
    with maria.serve(server, tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql(request: pytest.FixtureRequest) -> Iterator[postgres.PostgreSQL]:
    """A PostgreSQL server; skips, with the reason, where there is none."""
    programs = postgres.find_programs(request.config.cache.mkdir("postgresql"))
    # Not in pytest's folder: any other pytest that starts closes that to other users.
    with (
        TemporaryDirectory(prefix="mastery-postgresql-") as folder,
        postgres.serve(programs, Path(folder)) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def ralph(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[record_store.Ralph]:
    """A learning record store; skips, with the reason, where it cannot be installed."""
    programs = record_store.find_programs(request.config.cache.mkdir("ralph"))
    with record_store.serve(programs, tmp_path_factory.mktemp("ralph")) as running:
        yield running


@pytest.fixture(scope="session")
def mlflow_address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server of MLflow; skips, with the reason, where it cannot be installed."""
    programs = mlflow_server.find_programs(request.config.cache.mkdir("mlflow"))
    with mlflow_server.serve(programs, tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="session")
def flink_programs(request: pytest.FixtureRequest) -> flink.Programs:
    """What a Flink cluster is made of; skips, with the reason, where it cannot be fetched."""
    return flink.find_programs(request.config.cache.mkdir("flink"))


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> chromium.Browser:
    """A browser without a window; skips, with the reason, where there is none."""
    return chromium.find_browser(request.config.cache.mkdir("chromium"))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server on this machine."""
    from moto.server import ThreadedMotoServer  # imports half of the web

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new bucket; its address and the credentials are in the environment, as in a container."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    name = f"bucket-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    yield Bucket(name, client)
    client.close()


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    """A server with Google Cloud Storage's API on this machine."""
    with serve_gcs() as endpoint:
        yield endpoint


@pytest.fixture
def gcs_bucket(gcs_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new bucket; its server is in the environment and needs no credentials."""
    import gcsfs

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    name = f"bucket-{uuid.uuid4().hex}"
    gcsfs.GCSFileSystem(skip_instance_cache=True).mkdir(name)
    return f"gs://{name}"
