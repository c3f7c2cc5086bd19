"""Processes of nodes: what is imported before they are forked, and what they send back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import LogError
from components.node.node_id import Node
from pipeline.run.processes import ForkedProcesses, NodeDeathError, Outcome, ThisProcess
from pipeline.store.lookups import NodeResult
from tests.pipeline.run.conftest import Forks

REPOSITORY = Path(__file__).parents[3]
DONE = NodeResult(Node.TRAINER, "done", 1.5)


def outcome_of(processes: ForkedProcesses) -> Outcome:
    """Returns how the next node has ended, after whatever is imported before."""
    while True:
        outcome = processes.wait()
        if outcome:
            return outcome


def test_an_error_comes_back_in_words_and_a_result_as_it_is() -> None:
    def fail(_: Callable[[], None]) -> NodeResult:
        raise ValueError("odd") from LogError(["a.csv, row 2: no learner"])

    processes = ForkedProcesses(capacity=2)
    processes.start(Node.TRAINER, lambda _: DONE)
    outcome = outcome_of(processes)
    assert isinstance(outcome.end, NodeResult)
    assert (outcome.end.node, outcome.end.state) == (Node.TRAINER, "done")
    assert outcome.seconds == outcome.end.seconds < 60

    processes.start(Node.EXAMPLE_GEN, fail)
    assert str(outcome_of(processes).end) == "The log has 1 problem:\n  - a.csv, row 2: no learner"
    assert processes.close() is False


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_ends_without_a_result_has_failed(code: int) -> None:
    def leave(_: Callable[[], None]) -> NodeResult:
        os._exit(code)

    processes = ForkedProcesses()
    processes.start(Node.TRAINER, leave)
    error = outcome_of(processes).end
    assert isinstance(error, NodeDeathError)
    assert (error.node, error.code) == (Node.TRAINER, code)


def test_a_death_is_noticed_while_another_process_holds_the_pipe(tmp_path: Path) -> None:
    def fork_and_die(_: Callable[[], None]) -> NodeResult:
        if os.fork() == 0:
            for _ in range(6000):
                if (tmp_path / "noticed").exists():
                    os._exit(0)
                time.sleep(0.01)
            (tmp_path / "gave up").touch()
        os._exit(1)

    processes = ForkedProcesses()
    processes.start(Node.TRAINER, fork_and_die)
    assert isinstance(outcome_of(processes).end, NodeDeathError)
    assert not (tmp_path / "gave up").exists()
    (tmp_path / "noticed").touch()


def test_memory_of_a_node_is_its_own_peak() -> None:
    def allocate(_: Callable[[], None]) -> NodeResult:
        assert len(bytearray(300 * 2**20).replace(b"\0", b"\1")) == 300 * 2**20
        return DONE

    processes = ForkedProcesses()
    peaks = []
    for launch in (allocate, lambda _: DONE):
        processes.start(Node.TRAINER, launch)
        peaks.append(outcome_of(processes).peak_mib or 0)
    assert peaks[0] > peaks[1] + 250


def test_while_a_node_computes_what_later_ones_need_is_imported(tmp_path: Path) -> None:
    sys.modules.pop("colorsys", None)

    def compute(note_execution: Callable[[], None]) -> NodeResult:
        note_execution()
        while not (tmp_path / "go on").exists():
            time.sleep(0.01)
        return DONE

    noted: list[Node] = []
    modules = {Node.TRAINER: ["no.such.module", "colorsys"], Node.EVALUATOR: ["colorsys"]}
    processes = ForkedProcesses(note_execution=noted.append, modules=modules, capacity=2)
    processes.start(Node.TRANSFORM, compute)
    assert not processes.may_start(Node.TRAINER, executes=True)
    assert not processes.may_start(Node.TRAINER, executes=False)
    assert processes.wait() is None  # a broken module is for the node that needs it to report
    assert processes.wait() is None
    assert "colorsys" in sys.modules
    assert noted == [Node.TRANSFORM]
    assert processes.may_start(Node.TRAINER, executes=True)
    assert processes.may_start(Node.EVALUATOR, executes=True)
    (tmp_path / "go on").touch()
    assert isinstance(outcome_of(processes).end, NodeResult)


def test_nothing_is_imported_for_nodes_that_come_from_the_cache() -> None:
    sys.modules.pop("colorsys", None)
    processes = ForkedProcesses(modules={Node.TRAINER: ["colorsys"]}, capacity=2)
    assert processes.may_start(Node.TRAINER, executes=False)
    assert not processes.may_start(Node.TRAINER, executes=True)
    processes.start(Node.TRANSFORM, lambda _: DONE)
    assert processes.wait()
    assert "colorsys" not in sys.modules


def test_a_node_that_is_ended_leaves_no_process(forks: Forks) -> None:
    def never_end(_: Callable[[], None]) -> NodeResult:
        while True:
            time.sleep(0.05)

    processes = ForkedProcesses(capacity=2)
    processes.start(Node.TRAINER, never_end)
    processes.start(Node.TRANSFORM, never_end)
    processes.end(Node.TRAINER)
    assert processes.close() is True
    assert len(forks) == 2
    assert forks.have_ended()


def test_in_one_process_the_error_is_the_one_that_was_raised() -> None:
    error = LogError(["row 2"])

    def fail(_: Callable[[], None]) -> NodeResult:
        raise error

    entered: list[Node] = []
    processes = ThisProcess(entered.append)
    processes.start(Node.EXAMPLE_GEN, fail)
    assert entered == []
    assert processes.wait().end is error
    assert entered == [Node.EXAMPLE_GEN]


def test_what_is_imported_before_a_fork_starts_no_thread_of_python_and_leaves_polars_out() -> None:
    code = """
import sys, threading
from components.config import load_config
from pipeline.run.imports import import_early, lean_tfx
from pipeline.run.worker import modules_before_fork
from components.node.node_id import Node
with lean_tfx():
    import pipeline.dag, pipeline.run.launch
config = load_config("configs/sample.yaml", ["evaluation.simple_models=[trees]"])
for names in modules_before_fork(list(Node), config).values():
    for name in names:
        import_early(name)
expected = {"tensorflow", "apache_beam", "tensorflow_transform", "sklearn.ensemble"}
assert expected <= set(sys.modules)
assert "polars" not in sys.modules
assert threading.active_count() == 1, threading.enumerate()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
