"""Markdown for Kubeflow's user interface, of what others chose."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipeline.kubeflow.finish import summarise_run
from pipeline.kubeflow.summaries import summarise_node
from pipeline.run.launch import Artifact, NodeResult
from pipeline.run.record import RunRecord

HOSTILE = "a | b\n# owned\n<script>[x](javascript:y)\x1b[2J"
SHOWN = "a \\| b \\# owned \\<script\\>\\[x\\](javascript:y)\\\\u001b\\[2J"


def gate(text: str) -> dict[str, object]:
    return {"gates": [{"text": text}], "blessed": False, "overall": {"examples": 1, "metrics": {}}}


@pytest.mark.parametrize(
    ("node", "told", "line"),
    [
        (
            "DataGate",
            {
                "anomalies": [
                    {"split": "train", "column": HOSTILE, "expected": HOSTILE, "found": HOSTILE}
                ]
            },
            f"| train | {SHOWN} | {SHOWN} | {SHOWN} |",
        ),
        ("Evaluator", gate(HOSTILE), f"| {SHOWN} |"),
        ("Pusher", {"pushed": False, "reason": HOSTILE}, f"Pushed nothing: {SHOWN}."),
        ("Pusher", {"pushed": True, "destination": HOSTILE}, f"Pushed {SHOWN}."),
    ],
)
def test_what_a_node_says_of_a_log_is_text(node: str, told: dict[str, object], line: str) -> None:
    result = NodeResult(node, "done", 1.0, {"output": [Artifact("/mastery/`x`")]})
    lines = summarise_node(result, json.dumps(told)).splitlines()
    assert line in lines
    assert "- output: /mastery/\\`x\\`" in lines


def test_the_error_of_a_run_is_text() -> None:
    record = RunRecord(
        run="r1", name="algebra", started=datetime.now(UTC), state="failed", error=HOSTILE
    )
    assert SHOWN in summarise_run(record).splitlines()
