"""The scheduler, with nodes that need no TFX: in this process, and in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.config import Config, load_config
from components.config.beam import WORKERS
from components.contracts.provenance import DataProvenance
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import RunResult, SeenBefore
from components.node.node_id import Node
from pipeline.run import nodes as scheduler
from pipeline.run.nodes import NodeChange, Schedule, planned_nodes, run_nodes
from pipeline.run.prepare import nodes_of
from pipeline.run.processes import ForkedProcesses, NodeDeathError, NodeError
from tests.pipeline.run.conftest import Forks
from tests.pipeline.run.fake_nodes import SEEN, UPSTREAM, Modules, install
from tests.pipeline.stored_runs import StoredRuns

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"
BESIDE = ("StatisticsGen", "Transform")  # neither needs the other


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(SAMPLE)


class Observer:
    """Notes each change as it is when it is observed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.repeats: SeenBefore | None = None
        self.states: dict[str, str] = {}

    def __call__(self, change: NodeChange) -> None:
        self.seen.append((change.node.id, change.node.state))
        self.states = {node.id: node.state for node in change.nodes}
        self.repeats = change.repeats
        assert (change.result is not None) == (change.node.state == "done" and not change.repeats)

    def of(self, state: str) -> list[str]:
        """Returns the nodes that are in a state now, in order."""
        return [node for node, now in self.states.items() if now == state]


@pytest.fixture
def run(
    config: Config, tmp_path: Path, modules: Modules
) -> Callable[..., tuple[RunResult, Observer, list[tuple[str, bool]], Exception | None]]:
    """Returns a function that runs nodes; returns what they left, and the error of the run.

    Its options are those of `install` and of the plan, and `lanes`: how many processes, None for
    this one.
    """

    def start(
        *, lanes: int | None = None, nodes: dict[str, Any] | None = None, **options: Any
    ) -> tuple[RunResult, Observer, list[tuple[str, bool]], Exception | None]:
        launched = install(modules, tmp_path, **(nodes or {}))
        plan = RunPlan(run="r", root=tmp_path, config=config, **options)
        processes = ForkedProcesses(capacity=lanes) if lanes else None
        result, observer = RunResult(), Observer()
        try:
            run_nodes(plan, result, observer, processes=processes)
        except Exception as error:
            return result, observer, launched, error
        return result, observer, launched, None

    return start


Run = Callable[..., tuple[RunResult, Observer, list[tuple[str, bool]], Exception | None]]


def test_in_one_process_every_node_runs_once_in_order(run: Run, config: Config) -> None:
    _, observer, launched, error = run()
    assert error is None
    assert launched == [(node, True) for node in nodes_of(config)]
    assert observer.seen == [
        (node, state) for node in nodes_of(config) for state in ("running", "done")
    ]


@pytest.mark.parametrize("lanes", [None, 1, 2])
def test_what_nodes_have_produced_is_noted_wherever_they_run(
    run: Run, tmp_path: Path, lanes: int | None
) -> None:
    result, observer, _, error = run(lanes=lanes)
    assert error is None
    assert set(observer.states.values()) == {"done"}
    assert result == RunResult(
        metrics=str(tmp_path / "metrics.json"),
        report=str(tmp_path / "report.html"),
        pushed_version="/serving/18",
        data=DataProvenance(spans=["3", "4"], version=1),
        warnings=["a GPU is idle"],
    )


@pytest.mark.parametrize("lanes", [None, 1])
def test_a_library_that_is_missing_fails_no_node_that_never_uses_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, lanes: int | None
) -> None:
    monkeypatch.setattr(scheduler, "modules_of", lambda *_: ["no.such.module"])
    _, observer, _, error = run(lanes=lanes, nodes={"imports": True})
    assert error is None
    assert set(observer.states.values()) == {"done"}


def test_nodes_that_do_not_need_each_other_run_at_the_same_time(run: Run) -> None:
    _, observer, _, error = run(lanes=2, nodes={"together": BESIDE})
    assert error is None
    starts = [observer.seen.index((node, "running")) for node in BESIDE]
    ends = [observer.seen.index((node, "done")) for node in BESIDE]
    assert max(starts) < min(ends)
    for node, needed in UPSTREAM.items():
        for other in needed:
            done = observer.seen.index((other, "done"))
            assert done < observer.seen.index((node, "running"))


@pytest.mark.parametrize("lanes", [None, 1])
def test_after_a_node_that_fails_none_runs_and_what_was_done_is_kept(
    run: Run, lanes: int | None
) -> None:
    result, observer, _, error = run(lanes=lanes, nodes={"failing": "Transform"})
    assert isinstance(error, NodeError if lanes else RuntimeError)
    assert "Transform is broken" in str(error)
    assert observer.seen[-1] == ("Transform", "failed")
    assert observer.of("waiting") == list(observer.states)[6:]
    assert result.data == DataProvenance(spans=["3", "4"], version=1)


def test_nodes_before_one_that_failed_go_on_and_the_first_error_counts(run: Run) -> None:
    _, observer, _, error = run(
        lanes=2, nodes={"failing": "Transform DataGate", "together": BESIDE}
    )
    assert str(error) == "unexpected RuntimeError: DataGate is broken"
    assert observer.of("failed") == ["DataGate", "Transform"]
    assert ("Trainer", "running") not in observer.seen


def test_a_node_after_one_that_failed_is_ended_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.execute("r", "Transform", mlmd.Execution.RUNNING)
    _, observer, _, error = run(
        lanes=2, nodes={"failing": "DataGate", "slow": "Transform", "together": BESIDE}
    )
    assert str(error) == "unexpected RuntimeError: DataGate is broken"
    assert (observer.of("failed"), observer.of("interrupted")) == (["DataGate"], ["Transform"])
    [execution] = runs.store.get_executions()
    assert execution.last_known_state == mlmd.Execution.CANCELED


def test_a_node_whose_process_is_killed_has_failed_and_leaves_nothing(
    run: Run, tmp_path: Path
) -> None:
    runs = StoredRuns(tmp_path)
    number = runs.execute("r", "Trainer", mlmd.Execution.RUNNING).id
    half = runs.layout.nodes / "Trainer" / "model" / str(number) / "half"
    half.parent.mkdir(parents=True)
    half.touch()
    _, observer, _, error = run(lanes=2, nodes={"killed": "Trainer"})
    assert isinstance(error, NodeDeathError)
    assert (error.node, error.code) == (Node.TRAINER, -9)
    assert str(error).startswith("Trainer was killed, as the system does when memory runs out.")
    assert observer.of("failed") == ["Trainer"]
    assert not half.parent.exists()


def test_nodes_are_told_how_many_threads_to_use(
    config: Config, tmp_path: Path, modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WORKERS, raising=False)
    install(modules, tmp_path)
    beam = config.beam.model_copy(update={"workers": 3})
    plan = RunPlan(run="r", root=tmp_path, config=config.model_copy(update={"beam": beam}))
    run_nodes(plan, RunResult(), Observer())
    assert os.environ.pop(WORKERS) == "3"


def test_no_process_outlives_a_scheduler_that_fails(
    config: Config, tmp_path: Path, modules: Modules, forks: Forks
) -> None:
    install(modules, tmp_path, slow="StatisticsGen Transform")

    def refuse(change: NodeChange) -> None:
        if change.node.id == "Transform":
            raise OSError("no space left")

    processes = ForkedProcesses(capacity=2)
    with pytest.raises(OSError, match="no space left"):
        run_nodes(
            RunPlan(run="r", root=tmp_path, config=config), RunResult(), refuse, processes=processes
        )
    assert forks.have_ended()


@pytest.mark.parametrize("lanes", [None, 2])
@pytest.mark.parametrize("seen", [SEEN, None])
def test_without_new_data_a_run_stops_after_example_gen(
    run: Run, seen: SeenBefore | None, lanes: int | None
) -> None:
    result, observer, _, error = run(lanes=lanes, nodes={"seen": seen}, only_new_data=True)
    assert error is None
    assert result.seen_before == observer.repeats == seen
    assert observer.seen[:2] == [("ExampleGen", "running"), ("ExampleGen", "done")]
    assert (observer.states == {"ExampleGen": "done"}) == (seen is not None)


def test_nodes_from_one_on_are_executed_anew_and_none_after_the_last(run: Run) -> None:
    _, _, launched, _ = run(from_node=Node.DATA_GATE, to_node=Node.TRANSFORM)
    assert launched[-3:] == [
        ("ExampleValidator", True), ("DataGate", False), ("Transform", False),
    ]  # fmt: skip


def test_a_container_skips_nodes_that_the_run_does_not_have(config: Config, tmp_path: Path) -> None:
    asked = [Node.TRANSFORM, Node.WARM_START_RESOLVER]
    plan = RunPlan(run="r", root=tmp_path, config=config, nodes=asked)
    assert planned_nodes(plan) == [Node.TRANSFORM]
    warm = load_config(SAMPLE, ["training.warm_start=true"])
    assert planned_nodes(plan.model_copy(update={"config": warm})) == asked


def test_nodes_of_earlier_containers_have_ended_well() -> None:
    schedule = Schedule([Node.TRAINER, Node.EVALUATOR], UPSTREAM)
    assert [record.id for record in schedule.ready] == ["Trainer"]
    schedule.record(Node.TRAINER).state = "cached"
    assert [record.id for record in schedule.ready] == ["Evaluator"]


@pytest.mark.parametrize("warm_start", ["true", "false"])
def test_the_order_of_nodes_is_one_of_the_compiled_plan(warm_start: str, tmp_path: Path) -> None:
    from pipeline.dag import create_pipeline
    from pipeline.layout import Layout
    from pipeline.run.launch import compile_plan, upstream_nodes

    config = load_config(SAMPLE, [f"training.warm_start={warm_start}"])
    needed = upstream_nodes(
        compile_plan(create_pipeline(config, Layout(tmp_path, config.name)), "run")
    )
    order = nodes_of(config)
    assert sorted(needed) == sorted(order)
    for place, node in enumerate(order):
        assert needed[node] <= set(order[:place])
    if warm_start == "false":
        assert needed == UPSTREAM
