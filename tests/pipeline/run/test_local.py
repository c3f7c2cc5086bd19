"""A run on one machine: how it starts, how it is stopped, and how it ends with its worker."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.command.console import PlainConsole
from components.config import Config, load_config
from components.contracts.contract import ContractError
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import RunRecord
from components.errors import LogError, MasteryError
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.run import local
from pipeline.run.local import run_pipeline
from pipeline.run.record import read_records
from tests.pipeline.stored_runs import StoredRuns

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
Run = Callable[..., RunRecord]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for table in ("events", "outcomes"):
        (tmp_path / f"{table}.csv").write_text("learner_id,unit_id\n")
    tables = [f"data.{table}={tmp_path}/{table}.csv" for table in ("events", "outcomes")]
    return load_config(SAMPLE, [*tables, "notify.webhook.url=https://chat.example/s3cret"])


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def run(
    tmp_path: Path, config: Config, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Returns a function that runs the sample's pipeline with a fake worker, given its order."""
    fake = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
    monkeypatch.setattr(local, "WORKER", fake)

    def start(order: str, **options: object) -> RunRecord:
        monkeypatch.setenv("MASTERY_FAKE", order)
        console = PlainConsole(file=screen, width=120)
        return run_pipeline(config, tmp_path / "root", console=console, **options)  # type: ignore[arg-type]

    return start


def only_run(root: Path) -> Path:
    [folder] = root.glob("sample/runs/*")
    return folder


def test_a_worker_that_ends_well_has_passed(run: Run, tmp_path: Path, screen: io.StringIO) -> None:
    (tmp_path / "report.html").touch()
    result = {"report": str(tmp_path / "report.html"), "warnings": ["no GPU"], "error": None}
    record = run(f"pass {json.dumps(result)}")
    assert record.state == "passed"
    assert (record.report, record.warnings) == (result["report"], ["no GPU"])
    assert [(node.id, node.state) for node in record.nodes] == [
        ("ExampleGen", "done"),
        ("Trainer", "done"),
    ]
    assert record.pid is None
    assert record.seconds is not None
    assert read_records(tmp_path / "root") == [record]
    assert "epoch 2/2" in screen.getvalue()


def test_a_plan_holds_the_options_and_no_secret(run: Run, tmp_path: Path) -> None:
    run("pass", from_node="Trainer", to_node="Evaluator", use_cache=False)
    folder = only_run(tmp_path / "root")
    plan = RunPlan.read(folder)
    assert (plan.from_node, plan.to_node) == (Node.TRAINER, Node.EVALUATOR)
    assert (plan.use_cache, plan.only_new_data) == (False, False)
    assert "s3cret" not in (folder / "plan.json").read_text()


def test_an_error_of_the_worker_is_that_of_the_run(run: Run) -> None:
    record = run(f"pass {json.dumps({'error': 'no events', 'log': '/x/ExampleGen.log'})}")
    assert (record.state, record.error) == ("failed", "no events\nLog: /x/ExampleGen.log")


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (f"die {signal.SIGKILL}", "The worker was killed, as the system does when memory runs out"),
        (f"die {signal.SIGABRT}", "The worker was ended by SIGABRT inside a library."),
        (f"die {signal.SIGRTMIN + 1}", f"The worker was ended by signal {signal.SIGRTMIN + 1} in"),
    ],
)
def test_the_error_about_a_killed_worker_names_its_last_log(
    run: Run, tmp_path: Path, order: str, says: str
) -> None:
    record = run(order)
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.startswith(says)
    assert record.error.endswith(f"Log: {only_run(tmp_path / 'root')}/logs/Trainer.log")


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("exit 3", "The worker ended with exit code 3: it printed nothing"),
        ("say no such module", "The worker ended with exit code 1: no such module"),
    ],
)
def test_a_worker_without_a_result_has_failed(
    run: Run, tmp_path: Path, order: str, says: str
) -> None:
    record = run(order)
    log = only_run(tmp_path / "root") / "start-up.txt"
    assert (record.state, record.error) == ("failed", f"{says}\nLog: {log}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_run_and_ends_its_worker(
    run: Run, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    StoredRuns(tmp_path / "root")  # the run is looked up in it
    record = run(f"signal {number.value}")
    assert record.state == "interrupted"
    assert [node.state for node in record.nodes] == ["done", "interrupted"]
    assert read_records(tmp_path / "root") == [record]
    with pytest.raises(ProcessLookupError):
        os.kill(int((only_run(tmp_path / "root") / "pid").read_text()), 0)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_result_that_cannot_be_read_leaves_an_interrupted_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"result\.json: expected result\.json of Mastery"):
        run("pass {")
    [record] = read_records(tmp_path / "root")
    assert (record.state, record.seconds) == ("interrupted", None)


def test_a_worker_that_ignores_the_request_is_killed(run: Run, tmp_path: Path) -> None:
    started = time.monotonic()
    assert run(f"stubborn {signal.SIGINT.value}").state == "interrupted"
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((only_run(tmp_path / "root") / "pid").read_text()), 0)


def test_a_run_whose_process_died_is_tidied_up_by_the_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "root", "sample")
    dead = RunRecord(run="20260101-000000-dead", name="sample", started=datetime.now(UTC))
    dead.write(layout.run(dead.run))
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (scratch / f"mastery-{dead.run}" / "beam-temp").mkdir(parents=True)
    (scratch / "mastery-of-another-run").mkdir()
    run("pass")
    assert [item.name for item in scratch.iterdir()] == ["mastery-of-another-run"]
    [first, second] = read_records(tmp_path / "root")
    assert (first.run, first.state, first.seconds) == (dead.run, "interrupted", 0.0)
    assert second.state == "passed"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"from_node": "Trianer"}, r"--from Trianer: expected one of .*; did you mean Trainer\?"),
        ({"to_node": "Nowhere"}, r"--to Nowhere: expected one of ExampleGen, .*Report\."),
        ({"to_node": "WarmStartResolver"}, r"--to WarmStartResolver: expected one of"),
        ({"from_node": "Pusher", "to_node": "Trainer"}, "--from Pusher comes after --to Trainer"),
        ({"only_new_data": True, "use_cache": False}, "--only-new-data cannot be combined with"),
        ({"only_new_data": True, "from_node": "Trainer"}, "--only-new-data cannot be combined"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    run: Run, tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(MasteryError, match=says):
        run("pass", **options)
    assert not (tmp_path / "root").exists()


def test_a_missing_log_is_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "events.csv").unlink()
    with pytest.raises(LogError, match=r"events\.csv"):
        run("pass")
    assert not (tmp_path / "root").exists()


def test_a_root_with_characters_of_patterns_is_refused(
    config: Config, tmp_path: Path, screen: io.StringIO
) -> None:
    with pytest.raises(MasteryError, match=r"expected a path without \* \["):
        run_pipeline(config, tmp_path / "runs*[1", console=PlainConsole(file=screen))
