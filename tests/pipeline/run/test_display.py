"""The printed progress of a run, its summary, and the list of runs."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.command.console import PlainConsole
from components.contracts.evaluation import Evaluation
from components.contracts.run_record import NodeRecord, RunRecord
from pipeline.run.display import RunDisplay, print_metrics, print_runs, print_summary

GATE = {
    "text": "", "metric": "recall", "class": "partial", "slice": {"gender": "F"}, "bound": "min",
    "threshold": 0.85, "value": 0.8214, "baseline": None, "passed": False, "reason": "",
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
    values = {"run": "20260101-000000-abc", "name": "algebra", "started": datetime.now(UTC)}
    return RunRecord.model_validate({**values, "seconds": 3.0, **changes})


def test_a_failed_gate_is_named_with_threshold_and_value(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps(EVALUATION))
    text = printed(record(state="gates failed", metrics=str(metrics), report="/x/report.html"))
    for part in (
        "recall of partial where gender=F",
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


def test_a_pushed_version_that_was_removed_is_reported(tmp_path: Path) -> None:
    gone = printed(record(state="passed", pushed_version=str(tmp_path / "1")))
    assert "no longer there" in gone
    assert "no longer there" not in printed(record(state="passed", pushed_version=str(tmp_path)))


def test_a_run_without_new_data_names_the_earlier_run() -> None:
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


def test_warnings_are_printed_right_before_the_last_line() -> None:
    lines = printed(
        record(state="passed", warnings=["fitted on the CPU, although this machine has a GPU"])
    ).splitlines()
    assert lines[-2] == "Warning  fitted on the CPU, although this machine has a GPU"


def test_a_gate_on_every_slice_names_the_column_and_a_missing_value_is_a_dash(
    tmp_path: Path,
) -> None:
    gates = [{**GATE, "slice": "gender", "value": None, "reason": "no examples"}]
    (tmp_path / "metrics.json").write_text(json.dumps({**EVALUATION, "gates": gates}))
    text = printed(record(state="gates failed", metrics=str(tmp_path / "metrics.json")))
    assert "recall of partial in every slice of gender" in text
    assert "–" in text
    assert "FAILED" in text
    assert "  recall of partial in every slice of gender, min 0.85: no examples\n" in text


def test_a_gap_between_slices_is_named_as_one(tmp_path: Path) -> None:
    gates = [{**GATE, "slice": "gender", "bound": "max_gap"}]
    (tmp_path / "metrics.json").write_text(json.dumps({**EVALUATION, "gates": gates}))
    text = printed(record(state="gates failed", metrics=str(tmp_path / "metrics.json")))
    assert "recall of partial between slices of gender" in text


def test_gates_with_intervals_keep_their_numbers_whole_in_100_columns(tmp_path: Path) -> None:
    sure = {"confidence": 0.95, "passed": True, "slice": None}
    gain = {"metric": "auc", "class": None, "over": "trees", "bound": "min_gain_over"}
    numbers = {"threshold": 0, "value": 0.768, "baseline": 0.76, "interval": [0.003, 0.0134]}
    recall = {"slice": "gender", "interval": [0.8, 0.84], "reason": "1 of 3 slices fails"}
    gates = [{**GATE, **sure, **gain, **numbers}, {**GATE, **recall, "confidence": 0.9}, GATE]
    (tmp_path / "metrics.json").write_text(json.dumps({**EVALUATION, "gates": gates}))
    console = PlainConsole(file=io.StringIO(), width=100)
    print_summary(record(state="gates failed", metrics=str(tmp_path / "metrics.json")), console)
    assert isinstance(console.file, io.StringIO)
    table = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]
    assert {len(line) for line in table} == {100}
    lines = [" ".join(line.split()) for line in table]

    [first] = [line for line in lines if "auc over trees" in line]
    assert "min_gain 0 at 95% │ 0.0080 │ 0.0030 to 0.0134 │ passed" in first
    [second] = [line for line in lines if "min 0.85 at 90%" in line]
    assert "0.8214 │ 0.8000 to 0.8400 │ FAILED" in second


def test_a_run_with_push_disabled_says_so() -> None:
    text = printed(record(state="passed", report="/x/report.html"))
    assert "Pushed   nothing: push.enabled is false" in text
    assert "completed after 3.0 s (0 nodes, 0 of them from the cache)" in text
    assert "Pushed" not in printed(record(state="interrupted"))


def test_an_interrupted_run_is_resumed_by_the_same_command() -> None:
    last = printed(record(state="interrupted")).splitlines()[-1]
    assert last.endswith(
        "was interrupted after 3.0 s (0 nodes, 0 of them from the cache); "
        "the same command resumes it"
    )


def test_metrics_are_printed_overall_and_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    overall = {
        "examples": 1234,
        "metrics": {"f1_macro": 0.81234, "auc": None},
        "intervals": {"f1_macro": [0.79, 0.83]},
        "classes": {"low": {"precision": 0.5, "support": 17, "intervals": {"f1": [0, 1]}}},
        "decisions": {
            "call": {"examples": 1234, "of_class": 17, "named": 20, "right": 10, "recall": 0.5882}
        },
    }
    print_metrics(Evaluation.model_validate({"task": "classification", "overall": overall}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "1,234 examples",
        "  f1_macro            0.8123  (0.7900 to 0.8300)",
        "  auc                 –",
    ]
    assert lines[3].startswith("  low                 precision 0.5000  recall –")
    assert lines[3].endswith("support 17")
    assert lines[4].startswith("  decision call       precision –  recall 0.5882  alarm_rate –")
    assert lines[4].endswith("named 20")


def test_runs_are_listed_whole_even_with_standard_output_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_runs([])
    assert capsys.readouterr().out == "No runs here yet.\n"
    print_runs([record(state="passed", pushed_version="/serving/17")])
    assert "│ 3.0 │ 17 " in " ".join(capsys.readouterr().out.split())
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stdout", None)
        print_runs([record(state="running", seconds=None)])


NOW = datetime.now(UTC)
NODES = [
    NodeRecord(id="ExampleGen", state="done", seconds=1.5),
    NodeRecord(id="Transform", state="running", started=NOW - timedelta(seconds=7_000_000)),
    NodeRecord(id="Trainer", state="running", started=NOW - timedelta(seconds=3_000_000)),
    NodeRecord(id="Report", state="waiting"),
]


def test_without_a_terminal_a_node_that_ends_is_one_line() -> None:
    screen = io.StringIO()
    with RunDisplay(PlainConsole(file=screen, width=80)) as display:
        display.update([], {})
        display.update(NODES, {"Trainer": "epoch 1/2", "Transform": ""})
        display.update(NODES, {"Trainer": "epoch 2/2"})  # too soon after the line before
        failed = [NODES[0], NodeRecord(id="Trainer", state="failed", seconds=9.0)]
        display.update(failed, {})
    assert screen.getvalue().splitlines() == [
        "✓ ExampleGen        done         1.5 s",
        "    epoch 1/2",
        "✗ Trainer           failed       9.0 s",
    ]


def test_nodes_are_printed_in_the_order_they_ended() -> None:
    screen = io.StringIO()
    ended = [("StatisticsGen", 5, 2.0), ("Transform", 5, 1.0), ("ExampleGen", 9, 0.5)]
    nodes = [
        NodeRecord(id=node, state="done", started=NOW - timedelta(seconds=ago), seconds=seconds)
        for node, ago, seconds in ended
    ]
    with RunDisplay(PlainConsole(file=screen, width=80)) as display:
        display.update(nodes, {})
    printed = [line.split()[1] for line in screen.getvalue().splitlines()]
    assert printed == ["ExampleGen", "Transform", "StatisticsGen"]


def test_on_a_terminal_each_running_node_has_its_own_time_and_progress() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, width=80, force_terminal=True)
    with RunDisplay(console) as display:
        display.update(NODES, {"Transform": "half of it", "Trainer": "epoch 1/2"})
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    rows = [" ".join(line.split()) for line in text.splitlines()]
    for parts in (
        ("ExampleGen", "done", "1.5 s"),
        ("Transform", "running", " 700", "half of it"),
        ("Trainer", "running", " 300", "epoch 1/2"),
        ("Report", "waiting"),
    ):
        assert any(all(part in row for part in parts) for row in rows)
