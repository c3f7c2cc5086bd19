"""Servers that take what they are told, refuse it, answer nothing, or are away."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.contracts.run_record import RunRecord
from components.contracts.tracking_record import TrackingRecord
from pipeline.tracking.tell import track_labels, track_run, untold_runs
from tests.pipeline.cli.typed import mastery
from tests.pipeline.receivers import webhook
from tests.pipeline.stored_runs import StoredRuns
from tests.pipeline.tracking.tracked_root import FAILED, RUN, SAMPLE, load_sample, write_root
from tests.ports import free_port


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredRuns:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return write_root(tmp_path / "root")


def settings(url: str) -> list[str]:
    return [f"tracking.openlineage.url={url.removesuffix('/hook')}", "tracking.timeout_seconds=2"]


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_run_is_told_when_it_ends_and_only_once(
    runs: StoredRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = runs.layout.root
    with webhook(201) as receiver:
        config = load_sample(*settings(receiver.url))
        track_run(config, root, RunRecord.read(runs.layout.run(RUN)))
        assert len(receiver.received) == 12  # two for each of five nodes, and of the run
        assert untold_runs(config, root) == [FAILED]

        typed = ["tracking", "sync", "--config", str(SAMPLE), "--root", str(root)]
        typed += [part for item in settings(receiver.url) for part in ("--set", item)]
        assert mastery(monkeypatch, *typed) == 0
        assert len(receiver.received) == 12 + 6
        assert mastery(monkeypatch, *typed) == 0
        assert len(receiver.received) == 12 + 6
    printed = capsys.readouterr()
    assert printed.out == f"told    openlineage: {FAILED}\nNothing to tell.\n"
    assert printed.err == ""
    told = TrackingRecord.read(runs.layout.run(RUN)).told["openlineage"]
    assert told.state == "passed"


def test_a_key_is_sent_and_written_nowhere(
    runs: StoredRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEAGE_KEY", "s3cret")
    with webhook() as receiver:
        config = load_sample(
            *settings(receiver.url), "tracking.openlineage.api_key_env=LINEAGE_KEY"
        )
        track_run(config, runs.layout.root, RunRecord.read(runs.layout.run(FAILED)))
        assert receiver.headers[0]["Authorization"] == "Bearer s3cret"
    texts = [file.read_bytes() for file in runs.layout.root.rglob("*.json")]
    assert not any(b"s3cret" in text for text in texts)
    assert "s3cret" not in json.dumps(receiver.received)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (403, "expected an answer 2xx, found 403 Forbidden"),
        (None, "the server could not be reached (ConnectError)"),
        ("silent", "the server could not be reached (ReadTimeout)"),
    ],
)
def test_a_receiver_that_does_not_take_events_is_said_in_one_line(
    runs: StoredRuns, capfd: pytest.CaptureFixture[str], answer: int | str | None, says: str
) -> None:
    record = RunRecord.read(runs.layout.run(RUN))

    def track(url: str) -> None:
        track_run(load_sample(*settings(url)), runs.layout.root, record)

    if answer is None:
        track(f"http://127.0.0.1:{free_port()}")
    elif answer == "silent":
        with silent_server() as url:
            track(url)
    else:
        assert isinstance(answer, int)
        with webhook(answer) as receiver:
            track(receiver.url)
    expected = f"mastery: tracking.openlineage: {says}; `mastery tracking sync` tells it later.\n"
    assert capfd.readouterr().err == expected
    assert not (runs.layout.run(RUN) / TrackingRecord.FILE).exists()


def test_mlflow_that_is_away_is_said_in_one_line(
    runs: StoredRuns, capfd: pytest.CaptureFixture[str]
) -> None:
    config = load_sample(f"tracking.mlflow.uri=http://127.0.0.1:{free_port()}")
    track_labels(config, runs.layout.root, {"stable": 17, "canary": None})
    assert capfd.readouterr().err == (
        "mastery: tracking.mlflow: the server could not be reached; "
        "`mastery tracking sync` tells it later.\n"
    )


def test_sync_needs_a_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mastery(monkeypatch, "tracking", "sync", "--config", str(SAMPLE)) == 2
    assert "expected tracking.mlflow or tracking.openlineage" in capsys.readouterr().err
