"""The timer files: their settings, systemd's verdict, and that their commands exist."""

from __future__ import annotations

import configparser
import fcntl
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main as command_line
from pipeline.cli.watch_commands import ATTENTION

SCHEDULE = Path(__file__).parents[2] / "configs" / "schedule"
UNITS = ("mastery-retrain", "mastery-score", "mastery-watch")
MASTERY = "/opt/mastery/.venv/bin/mastery"


def unit(name: str) -> dict[str, dict[str, str]]:
    """Returns the sections of a unit; a key that occurs twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(SCHEDULE / name)
    return {section: dict(parser[section]) for section in parser.sections()}


def cron_command(begins: str = "0 4") -> tuple[list[str], str, str]:
    """Returns the five fields of the time, the account and the command of a line."""
    lines = (SCHEDULE / "mastery.cron").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(begins)]
    *time, account, command = line.split(maxsplit=6)
    return time, account, command


def test_the_service_runs_once_and_writes_only_to_its_root() -> None:
    service = unit("mastery-retrain.service")["Service"]
    assert service["Type"] == "oneshot"
    assert service["User"] == "mastery"
    root = Path(shlex.split(service["ExecStart"])[-2])
    assert (service["ProtectSystem"], root.parent) == (
        "strict",
        Path("/var/lib") / service["StateDirectory"],
    )
    for right in ("NoNewPrivileges", "PrivateTmp", "ProtectHome"):
        assert service[right] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert "MemoryDenyWriteExecute" not in service  # XLA compiles while it runs
    # The run stops its own worker, and prints that it was interrupted.
    assert service["KillMode"] == "mixed"


def test_a_watch_that_found_something_is_no_failed_unit() -> None:
    service = unit("mastery-watch.service")["Service"]
    assert service["SuccessExitStatus"] == str(ATTENTION)
    metrics = Path(shlex.split(service["ExecStart"])[-1]).parent
    assert str(metrics.relative_to("/var/lib")) in service["StateDirectory"].split()
    _, _, command = cron_command("30 6")
    arguments = command.partition(" watch ")[2].removesuffix(" > /dev/null")
    assert service["ExecStart"].endswith(f" watch {arguments}")


@pytest.mark.parametrize("name", UNITS)
def test_the_timer_starts_a_missed_run_later(name: str) -> None:
    timer = unit(f"{name}.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert (SCHEDULE / timer["Timer"]["Unit"]).is_file()
    assert timer["Install"]["WantedBy"] == "timers.target"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("the units were only parsed: systemd-analyze (package systemd) is not on PATH")
    stub = tmp_path / "mastery"
    stub.touch(mode=0o755)
    names = [f"{name}.{kind}" for name in UNITS for kind in ("service", "timer")]
    for name in names:
        (tmp_path / name).write_text((SCHEDULE / name).read_text().replace(MASTERY, str(stub)))
    units = [str(tmp_path / name) for name in names]
    checked = subprocess.run(
        [analyze, "verify", *units], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for name in UNITS:
        when = unit(f"{name}.timer")["Timer"]["OnCalendar"]
        read = subprocess.run([analyze, "calendar", when], capture_output=True, check=False)
        assert read.returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        *(unit(f"{name}.service")["Service"]["ExecStart"] for name in UNITS),
        cron_command()[2],
        cron_command("30 6")[2].removesuffix(" > /dev/null"),
    ],
)
def test_the_command_line_accepts_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    arguments = shlex.split(command)
    monkeypatch.setattr(sys, "argv", ["mastery", *arguments[arguments.index(MASTERY) + 1 :]])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "/etc/mastery/retrain.yaml: there is no such file" in capsys.readouterr().err


def test_cron_starts_the_command_every_night_with_secrets_and_never_twice(tmp_path: Path) -> None:
    time, account, command = cron_command()
    assert (time, account) == (["0", "4", "*", "*", "*"], "mastery")
    assert "%" not in command  # a newline, to cron
    if shutil.which("flock") is None:
        pytest.skip("flock (package util-linux) is not on PATH")
    stub = tmp_path / "mastery"
    stub.write_text(f'#!/bin/sh\necho "$CHAT" "$@" >> {tmp_path}/started\n')
    stub.chmod(0o755)
    for path, here in (("/etc/mastery", tmp_path), ("/var/lib/mastery", tmp_path), (MASTERY, stub)):
        command = command.replace(path, str(here))

    def run() -> None:
        assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0

    run()
    (tmp_path / "secrets.env").write_text("CHAT=https://chat.example/hook\n")
    with (tmp_path / "retrain.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run()  # another one is running: skipped
    run()
    without, with_secrets = (tmp_path / "started").read_text().splitlines()
    assert without.split()[0] == "run"
    assert with_secrets.split()[:2] == ["https://chat.example/hook", "run"]
    assert with_secrets.endswith("--only-new-data")
