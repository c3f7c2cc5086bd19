"""What is printed at the end of a run."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

from components.command.console import PlainConsole
from components.contracts.run_record import NodeRecord, RunRecord
from pipeline.run.display import print_summary

GATE = {
    "text": "", "metric": "recall", "class": "partial", "slice": {"gender": "F"}, "bound": "min", "threshold": 0.85,
    "value": 0.8214, "baseline": None, "passed": False, "reason": "",
}  # fmt: skip
EVALUATION = {
    "task": "classification",
    "blessed": False,
    "gates": [GATE],
    "overall": {"examples": 9, "metrics": {"f1_macro": 0.8}},
}


def printed(record: RunRecord) -> str:
    console = PlainConsole(file=io.StringIO(), width=120)
    print_summary(record, console)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def record(**changes: object) -> RunRecord:
    return RunRecord.model_validate(
        {
            "run": "20260101-000000-abc",
            "name": "algebra",
            "started": datetime.now(UTC),
            "seconds": 3.0,
            **changes,
        }
    )


def test_a_failed_gate_is_named_with_threshold_and_value(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps(EVALUATION))
    text = printed(record(state="gates failed", metrics=str(metrics), report="/x/report.html"))
    for part in (
        "recall of partial where gender = F",
        "min 0.85",
        "0.8214",
        "FAILED",
        "nothing",
        "/x/report.html",
    ):
        assert part in text


def test_a_failed_node_is_named_with_its_error() -> None:
    nodes = [NodeRecord(id="ExampleGen", state="done"), NodeRecord(id="DataGate", state="failed")]
    text = printed(
        record(state="failed", nodes=nodes, error="gender: [brackets] stay\nLog: /x/DataGate.log")
    )
    assert "DataGate failed." in text
    assert "gender: [brackets] stay" in text
    assert "/x/DataGate.log" in text


def test_a_pushed_version_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    gone = printed(record(state="passed", pushed_version=str(tmp_path / "1")))
    assert "no longer there" in gone
    assert "no longer there" not in printed(record(state="passed", pushed_version=str(tmp_path)))


def test_a_run_without_new_data_says_which_one_it_goes_back_to() -> None:
    for version, what in (
        ("/serving/17", "which pushed /serving/17"),
        (None, "which pushed nothing"),
    ):
        seen = {"run": "20251231-000000-def", "pushed_version": version}
        text = printed(
            record(state="no new data", seen_before=seen, data={"spans": ["3", "4"], "version": 1})
        )
        assert f"no new data since run 20251231-000000-def, {what}" in text
        assert "3 to 4 (2 spans), version 1" in text


def test_a_warning_is_the_last_thing_said_before_the_run() -> None:
    lines = printed(
        record(state="passed", warnings=["fitted on the CPU, although a GPU is here"])
    ).splitlines()
    assert lines[-2] == "Warning  fitted on the CPU, although a GPU is here"
