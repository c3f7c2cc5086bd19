"""How a run ended, judged in the same way on one machine and in containers."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.contracts.contract import ContractError
from components.contracts.evaluation import Evaluation, Result
from components.contracts.run_record import (
    NodeRecord,
    NodeState,
    RunRecord,
    RunResult,
    RunState,
    SeenBefore,
)
from components.node.node_id import Node
from pipeline.run.ending import (
    end_run,
    exit_code,
    explain_death,
    explain_unfinished,
    judge_run,
    local_file,
    note_result,
)
from pipeline.run.mirror import Mirror
from pipeline.store.lookups import NodeResult, StoredArtifact
from tests.s3 import Bucket

SEEN = SeenBefore(run="before", pushed_version="/serving/17")


def nodes(**states: NodeState) -> list[NodeRecord]:
    return [NodeRecord(id=Node[name], state=state) for name, state in states.items()]


def evaluated(folder: Path, *, blessed: bool | None) -> str:
    overall = Result(examples=9, metrics={"f1_macro": 0.8})
    return str(Evaluation(task="classification", blessed=blessed, overall=overall).write(folder))


def test_an_error_wins_over_everything_else() -> None:
    assert judge_run([], RunResult(error="broken", seen_before=SEEN)) == "failed"


def test_without_new_data_waiting_nodes_do_not_matter() -> None:
    waiting = nodes(EXAMPLE_GEN="cached", TRAINER="waiting")
    assert judge_run(waiting, RunResult(seen_before=SEEN)) == "no new data"
    assert judge_run(waiting, RunResult()) == "failed"


def test_a_run_up_to_a_node_before_the_evaluator_has_no_gates() -> None:
    assert judge_run(nodes(EXAMPLE_GEN="done", DATA_GATE="cached"), RunResult()) == "passed"


@pytest.mark.parametrize(
    ("blessed", "state"), [(True, "passed"), (False, "gates failed"), (None, "gates failed")]
)
def test_the_evaluator_says_whether_the_gates_passed(
    tmp_path: Path, blessed: bool | None, state: RunState
) -> None:
    result = RunResult(metrics=evaluated(tmp_path, blessed=blessed))
    assert judge_run(nodes(EVALUATOR="done", REPORT="done"), result) == state


def test_missing_metrics_pass_no_gate(tmp_path: Path) -> None:
    assert judge_run(nodes(EVALUATOR="done"), RunResult()) == "gates failed"
    with pytest.raises(ContractError, match="could not be read"):
        judge_run(nodes(EVALUATOR="done"), RunResult(metrics=str(tmp_path / "metrics.json")))


def test_a_record_gets_the_results_and_the_log_of_an_error() -> None:
    record = RunRecord(run="r", name="algebra", started=datetime.now(UTC), pid=os.getpid())
    ended = end_run(record, nodes(EXAMPLE_GEN="failed"), RunResult(error="broken", log="/x.log"))
    assert (ended.state, ended.error) == ("failed", "broken\nLog: /x.log")
    assert record.state == "running"
    passed = end_run(record, nodes(EXAMPLE_GEN="done"), RunResult(report="/r", seen_before=SEEN))
    assert (passed.report, passed.seen_before, passed.error) == ("/r", SEEN, None)


@pytest.mark.parametrize(
    ("state", "code"),
    [("passed", 0), ("no new data", 0), ("gates failed", 1), ("failed", 2), ("interrupted", 130)],
)
def test_exit_codes(state: RunState, code: int) -> None:
    record = RunRecord(run="r", name="algebra", started=datetime.now(UTC), state=state)
    assert exit_code(record) == code


def test_a_signal_without_a_name_is_a_number() -> None:
    assert explain_death(-11, None) == "The worker was ended by SIGSEGV inside a library."
    assert explain_death(-40, None) == "The worker was ended by signal 40 inside a library."
    assert explain_death(7, "no module x") == "The worker ended with exit code 7: no module x"
    assert explain_death(7, None) == "The worker ended with exit code 7: it printed nothing"


def test_containers_that_were_stopped_or_never_started_are_named() -> None:
    failed = nodes(EXAMPLE_GEN="done", TRAINER="failed", REPORT="waiting")
    assert explain_unfinished(failed, ["Trainer"]) == (
        "Trainer did not finish: the container ran out of memory or time."
    )
    assert explain_unfinished(failed, []) == "See the log of the node's container for the reason."
    waiting = nodes(EXAMPLE_GEN="done", REPORT="waiting")
    never = "Report was never started; see Kubeflow for the reason."
    assert explain_unfinished(waiting, []) == never
    assert explain_unfinished(nodes(REPORT="cached"), []) is None


def test_files_that_are_only_in_the_mirror_are_pulled(tmp_path: Path, bucket: Bucket) -> None:
    here, there = (Mirror(f"s3://{bucket.name}/x", tmp_path / name) for name in ("here", "there"))
    evaluated(here.root / "Evaluator", blessed=True)
    here.push([here.root / "Evaluator"])
    output = {"evaluation": [StoredArtifact(str(there.root / "Evaluator"))]}
    node = NodeResult(Node.EVALUATOR, "cached", 0.1, output)
    assert local_file(node, None) is None
    result = RunResult()
    note_result(result, node, there)
    assert result.metrics == str(there.root / "Evaluator" / "metrics.json")
    assert judge_run(nodes(EVALUATOR="cached"), result) == "passed"


def test_a_pusher_that_pushed_nothing_leaves_no_version() -> None:
    artifact = StoredArtifact("/x", {"pushed": 0, "reason": "a gate failed"})
    result = RunResult()
    note_result(result, NodeResult(Node.PUSHER, "done", 0.1, {"pushed_model": [artifact]}))
    assert result.pushed_version is None
