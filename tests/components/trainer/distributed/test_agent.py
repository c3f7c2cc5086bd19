"""A machine joins a folder, and leaves nothing there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import MasteryError
from components.trainer.distributed import agent as agent_module
from components.trainer.distributed.agent import Endpoint, parse_address, serve
from components.trainer.distributed.remote import JoinedMachines
from components.trainer.distributed.shared_folder import (
    Claim,
    Registration,
    has,
    make_claim,
    make_member,
    members,
    new_id,
    read,
    software,
)
from tests.components.trainer.distributed.agents import agents, only_member, wait_until

REPOSITORY = Path(__file__).parents[4]
COMMAND = [sys.executable, "-m", "pipeline.cli.main", "training-worker"]


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("host-b", Endpoint("host-b")),
        ("host-b.example:7900", Endpoint("host-b.example", 7900)),
        ("10.0.0.7", Endpoint("10.0.0.7")),
        ("fd00::7", Endpoint("fd00::7")),
        ("[fd00::7]:7900", Endpoint("fd00::7", 7900)),
        ("[10.0.0.7]:7900", Endpoint("10.0.0.7", 7900)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, endpoint: Endpoint) -> None:
    assert parse_address(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":7900", "host-b:", "host-b:0", "host-b:65536", "host b", "a;b:1", "[x:1", "-x", "h:1:2"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(MasteryError, match="--address: expected HOST or HOST:PORT"):
        parse_address(text)


def test_it_registers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with agents(tmp_path, "127.0.0.1") as [agent]:
        own = only_member(tmp_path)
        wait_until(lambda: read(own, Registration))
        registration = read(own, Registration)
        assert registration is not None
        assert registration.host == "127.0.0.1"
        assert registration.software == software()
        assert {"mastery", "tensorflow", "keras", "code"} <= set(registration.software)
        wait_until(lambda: agent.said)
        assert registration.address in agent.said[0]
    assert [*(tmp_path / "workers").iterdir()] == []


def test_a_folder_that_is_missing_or_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasteryError, match="expected a folder that all machines share, found none"):
        serve(tmp_path / "missing", Endpoint("127.0.0.1"))
    with pytest.raises(MasteryError, match="/proc cannot be written to"):
        serve(Path("/proc"), Endpoint("127.0.0.1"))
    with pytest.raises(MasteryError, match=r"training\.worker_folder: expected a folder"):
        JoinedMachines(tmp_path / "missing")


def test_whoever_may_write_to_the_folder_may_write_to_what_is_made_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o027)  # of our programs
    try:
        with agents(tmp_path, "127.0.0.1"):
            own = only_member(tmp_path)
            assert own.stat().st_mode & 0o777 == 0o770
    finally:
        os.umask(before)


def test_a_tidied_folder_is_joined_again(tmp_path: Path) -> None:
    with agents(tmp_path, "127.0.0.1") as [agent]:
        own = only_member(tmp_path)
        wait_until(lambda: agent.said)
        own.rename(tmp_path / "away")
        wait_until(lambda: read(own, Registration))


def test_it_is_free_again_when_its_trainer_is_not_heard_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "TRAINER_LOST", 2.0)
    with agents(tmp_path, "127.0.0.1") as [agent]:
        own = only_member(tmp_path)
        wait_until(lambda: agent.said)
        trainer = new_id()
        make_member(tmp_path, "trainers", trainer)
        assert make_claim(own, Claim(claim=new_id(), trainer=trainer, machine="host-a"))
        wait_until(lambda: len(agent.said) > 1)
        assert agent.said[1] == "free again: the Trainer on host-a was not heard from for 2 s"
        assert not has(own, Claim)

        (own / Claim.FILE).touch()  # of a Trainer that died while it wrote
        wait_until(lambda: not has(own, Claim))


def test_files_of_those_who_died_long_ago_are_removed(tmp_path: Path) -> None:
    old, recent = (make_member(tmp_path, "workers", new_id()) for _ in range(2))
    for folder, age in ((old, 25 * 3600), (recent, 3600)):
        file = folder / "heartbeat.json"
        file.write_text('{"count": 3}')
        moment = file.stat().st_mtime - age
        for path in (file, folder):
            os.utime(path, (moment, moment))

    with agents(tmp_path, "127.0.0.1") as [agent]:
        wait_until(lambda: agent.said)
        found = members(tmp_path, "workers")
        assert old not in found
        assert recent in found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_well_by_a_signal(tmp_path: Path, number: int) -> None:
    command = [*COMMAND, "--folder", str(tmp_path), "--address", "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"joined {tmp_path} as 127.0.0.1:")
        process.send_signal(number)
        assert process.wait(30) == 0
    assert [*(tmp_path / "workers").iterdir()] == []


def test_the_command_ends_after_minutes_without_work(tmp_path: Path) -> None:
    options = ["--folder", str(tmp_path), "--address", "127.0.0.1:7900", "--idle-minutes", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "as 127.0.0.1:7900" in done.stdout
    assert done.stdout.endswith("no work for 0.1 minutes\n")


def test_errors_of_the_command_are_words(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for options in (["--folder", str(tmp_path / "no")], ["--folder", ".", "--address", "a b"]):
        done = subprocess.run(
            [*COMMAND, *options], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("mastery: --")
        assert "Traceback" not in done.stderr


def test_a_registration_holds_no_command_and_no_path(tmp_path: Path) -> None:
    with agents(tmp_path, "127.0.0.1"):
        own = only_member(tmp_path)
        wait_until(lambda: has(own, Registration))
        content = json.loads((own / Registration.FILE).read_text())
    assert set(content) == {"format", "host", "port", "machine", "gpus", "software"}
