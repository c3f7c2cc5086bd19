"""TensorBoard over the runs of a root, asked by HTTP as its page does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from tests.pipeline.cli.typed import mastery
from tests.pipeline.tracking.tracked_root import RUN, SAMPLE, write_root

REPOSITORY = Path(__file__).parents[3]


def write_curve(folder: Path) -> None:
    folder.mkdir(parents=True)
    with (folder / "events.out.tfevents.1.vm.1.0.v2").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
        for step, value in enumerate((0.7, 0.5)):
            event = Event(wall_time=2.0 + step, step=step)
            event.summary.value.add(tag="epoch_loss", simple_value=value)
            writer.write(event.SerializeToString())


@pytest.mark.slow
def test_curves_and_hyperparameters_of_all_runs_are_shown_until_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    root = tmp_path / "root"
    write_root(root)
    write_curve(root / "files" / "model_run" / "logs" / "20261120-040000-000000" / "train")
    command = [sys.executable, "-m", "pipeline.cli.main", "tensorboard", "--config", SAMPLE,
               "--root", root, "--port", "0"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("1 run at http://"), line
            address = line.split()[3]
            _require_shown(address)
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
    assert code == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(address)


def _require_shown(address: str) -> None:
    name = f"{RUN} passed"
    wait_for(lambda: name in httpx.get(f"{address}data/runs").json())
    asked = {"run": f"{name}/train", "tag": "epoch_loss"}
    curve = httpx.get(f"{address}data/plugin/scalars/scalars", params=asked).json()
    assert [(step, round(value, 6)) for _, step, value in curve] == [(0, 0.7), (1, 0.5)]

    body = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [],
            "startIndex": 0, "sliceSize": 9}  # fmt: skip
    table = httpx.post(f"{address}data/plugin/hparams/session_groups", json=body).json()
    [row] = table["sessionGroups"]
    assert row["name"] == RUN
    assert row["hparams"]["training.epochs"] == 2
    values = {item["name"]["tag"]: item["value"] for item in row["metricValues"]}
    assert round(values["test/f1_macro"], 6) == 0.878


def wait_for(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold within 60 s"
        time.sleep(0.5)


def test_without_a_run_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["tensorboard", "--config", str(SAMPLE), "--root", str(tmp_path / "none")]
    assert mastery(monkeypatch, *typed) == 2
    printed = capsys.readouterr().err
    assert "expected a run of sample with curves below" in printed
    assert "`mastery run` makes one" in printed
