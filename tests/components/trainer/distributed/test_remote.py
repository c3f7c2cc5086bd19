"""A Trainer uses the workers that have joined, and only those that live."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components.errors import TrainingError
from components.trainer.distributed import remote
from components.trainer.distributed.agent import NOT_STARTED
from components.trainer.distributed.remote import LOST_STATUS, JoinedMachines, RemoteWorker
from components.trainer.distributed.shared_folder import (
    Claim,
    Heartbeat,
    Registration,
    Status,
    Wanted,
    has,
    make_claim,
    make_member,
    members,
    new_id,
    read,
    software,
    write,
)
from tests.components.trainer.distributed.agents import agents, only_member, wait_until

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def hosts_of(hired: list[RemoteWorker]) -> list[str]:
    return [worker.address.partition(":")[0] for worker in hired]


def register(folder: Path, **changed: Any) -> Path:
    """Writes the registration of a machine that is not there."""
    own = make_member(folder, "workers", new_id())
    values = {"host": "host-b", "port": 7900, "machine": "host-b", "software": software()}
    (own / Registration.FILE).write_text(json.dumps({**values, **changed}))
    (own / Heartbeat.FILE).write_text('{"count": 1}')
    return own


def test_workers_are_hired_in_a_stable_order(tmp_path: Path) -> None:
    with agents(tmp_path, *reversed(HOSTS)):
        for _ in range(2):
            hired = JoinedMachines(tmp_path).hire(3)
            assert hosts_of(hired) == [*HOSTS]
            assert hired[1].name.startswith("worker 2 on ")
            for worker in hired:
                worker.stop()
                worker.stop()


def test_too_few_workers_are_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    progress = tmp_path / "progress.txt"
    monkeypatch.setenv("MASTERY_PROGRESS", str(progress))
    with agents(tmp_path, HOSTS[0]), pytest.raises(TrainingError) as raised:
        JoinedMachines(tmp_path, patience=8).hire(3)
    waiting = f"waiting for 2 of 3 training workers in {tmp_path}"
    assert f"training.worker_folder: still {waiting} after 0 minutes." in str(raised.value)
    advice = f"start `mastery training-worker --folder {tmp_path}` on another machine"
    assert f"{waiting}: {advice}" in progress.read_text()
    assert f"{waiting}: {advice}" in caplog.text


def test_files_of_a_dead_worker_are_not_used(tmp_path: Path) -> None:
    register(tmp_path)
    with agents(tmp_path, HOSTS[0]):
        [hired] = JoinedMachines(tmp_path).hire(1)
        assert hired.address.startswith(HOSTS[0])
        with pytest.raises(TrainingError, match=r"for 1 of 1 .*1 used by another Trainer"):
            JoinedMachines(tmp_path, patience=8).hire(1)
        hired.stop()


def test_two_trainers_share_no_worker(tmp_path: Path) -> None:
    with agents(tmp_path, *HOSTS):
        first = JoinedMachines(tmp_path).hire(2)
        with pytest.raises(TrainingError, match="waiting for 1 of 2"):
            JoinedMachines(tmp_path, patience=8).hire(2)
        # What it could not have all of, it has not kept.
        [third] = JoinedMachines(tmp_path).hire(1)
        assert hosts_of([*first, third]) == [*HOSTS]
        for worker in first:
            worker.stop()
        second = JoinedMachines(tmp_path).hire(2)
        assert hosts_of(second) == [*HOSTS[:2]]
        for worker in (*second, third):
            worker.stop()


def test_of_two_claims_one_is_made(tmp_path: Path) -> None:
    own = make_member(tmp_path, "workers", new_id())
    claims = [Claim(claim=new_id(), trainer=new_id(), machine="host-a") for _ in range(2)]
    assert [make_claim(own, claim) for claim in claims] == [True, False]
    assert read(own, Claim) == claims[0]


def test_another_version_is_refused_and_both_sides_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with agents(tmp_path, HOSTS[0]) as [agent]:
        own = only_member(tmp_path)
        wait_until(lambda: has(own, Registration))
        monkeypatch.setattr(remote, "software", lambda: {**software(), "keras": "9.9"})
        theirs = software()["keras"]
        with pytest.raises(TrainingError) as raised:
            JoinedMachines(tmp_path, patience=8).hire(1)
        assert f"has another version: keras {theirs} and 9.9" in str(raised.value)
        wait_until(lambda: len(agent.said) > 1)
        assert "the versions of worker and Trainer differ: keras" in agent.said[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "host-b; rm -rf /"},
        {"host": "../../etc"},
        {"host": "-oProxyCommand=x"},
        {"port": 0},
        {"port": "7900"},
        {"machine": "x" * 500},
        {"software": {str(index): "1" for index in range(1000)}},
        {"gpus": -1},
        {"format": 2},
        {"padding": "x" * 100_000},
    ],
)
def test_a_registration_that_is_not_one_is_ignored(tmp_path: Path, changed: dict[str, Any]) -> None:
    own = register(tmp_path, **changed)
    assert members(tmp_path, "workers") == [own]
    assert read(own, Registration) is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    own = register(tmp_path)
    link = make_member(tmp_path, "workers", new_id())
    (link / Registration.FILE).symlink_to(own / Registration.FILE)
    assert read(own, Registration) is not None
    assert read(link, Registration) is None

    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "workers" / new_id()).symlink_to(outside)
    (tmp_path / "workers" / "not-an-id").mkdir()
    assert members(tmp_path, "workers") == sorted([own, link])

    os.mkfifo(link / Heartbeat.FILE)  # reading it would block
    assert read(link, Heartbeat) is None


def test_an_order_that_its_machine_cannot_see_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.trainer.distributed.agent._VISIBLE", 1.0)
    with agents(tmp_path, HOSTS[0]):
        [worker] = JoinedMachines(tmp_path).hire(1)
        worker.start(tmp_path / "elsewhere" / "order.json", 0, "{}")
        wait_until(lambda: worker.poll() is not None)
        assert worker.poll() == NOT_STARTED
        assert "order.json is not there on this machine" in worker.problem
        worker.stop()


def test_a_worker_that_is_stopped_on_its_machine_is_lost_at_once(tmp_path: Path) -> None:
    with agents(tmp_path, HOSTS[0]) as [agent]:
        [worker] = JoinedMachines(tmp_path).hire(1)
        assert worker.poll() is None
        agent.stop.set()
        wait_until(lambda: worker.poll() is not None)
        assert (worker.poll(), worker.problem) == (LOST_STATUS, "it was stopped on its machine")
        worker.stop()


def test_a_machine_that_is_not_heard_from_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOST", 4.0)
    with agents(tmp_path, HOSTS[0]):
        [worker] = JoinedMachines(tmp_path).hire(1)
        worker.start(tmp_path / "order.json", 0, "{}")
        wait_until(lambda: has(only_member(tmp_path), Status))
    own = make_member(tmp_path, "workers", worker._folder.name)  # what a kill -9 leaves
    write(own, Heartbeat(count=1))
    write(own, Wanted(claim=worker._claim.claim, order="/order.json", rank=0, tf_config="{}"))
    wait_until(lambda: worker.poll() is not None)
    assert worker.poll() == LOST_STATUS
    assert "not heard from for 4 s" in worker.problem
    worker.stop()
