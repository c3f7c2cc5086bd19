"""The loop over nodes, without TFX."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import Config, load_config
from components.contracts.provenance import DataProvenance
from components.contracts.run_plan import RunPlan
from components.contracts.run_record import RunResult, SeenBefore
from components.node.node_id import Node
from pipeline.run.nodes import NodeChange, planned_nodes, run_nodes
from pipeline.run.prepare import nodes_of
from tests.pipeline.run.fake_nodes import SEEN, Modules, install

SAMPLE = Path(__file__).parents[3] / "configs" / "sample.yaml"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(SAMPLE)


class Observer:
    """Notes each change as it is when it is observed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.repeats: SeenBefore | None = None
        self.states: list[str] = []

    def __call__(self, change: NodeChange) -> None:
        self.seen.append((change.node.id, change.node.state))
        self.states = [node.state for node in change.nodes]
        self.repeats = change.repeats
        assert (change.result is not None) == (change.node.state == "done" and not change.repeats)


def test_every_node_runs_once_in_order_and_its_results_are_noted(
    config: Config, tmp_path: Path, modules: Modules
) -> None:
    launched = install(modules, tmp_path)
    result, observer = RunResult(), Observer()
    run_nodes(RunPlan(run="r", root=tmp_path, config=config), result, observer)
    assert launched == [(node, True) for node in nodes_of(config)]
    assert observer.seen == [
        (node, state) for node in nodes_of(config) for state in ("running", "done")
    ]
    assert result == RunResult(
        metrics=str(tmp_path / "metrics.json"),
        report=str(tmp_path / "report.html"),
        pushed_version="/serving/18",
        data=DataProvenance(spans=["3", "4"], version=1),
        warnings=["a GPU is idle"],
    )


def test_after_a_node_that_fails_none_runs_and_what_was_done_is_kept(
    config: Config, tmp_path: Path, modules: Modules
) -> None:
    launched = install(modules, tmp_path, failing="Transform")
    result, observer = RunResult(), Observer()
    with pytest.raises(RuntimeError, match="Transform is broken"):
        run_nodes(RunPlan(run="r", root=tmp_path, config=config), result, observer)
    assert launched[-1] == ("Transform", True)
    assert observer.seen[-1] == ("Transform", "failed")
    assert observer.states[-1] == "waiting"
    assert result.data == DataProvenance(spans=["3", "4"], version=1)


@pytest.mark.parametrize("seen", [SEEN, None])
def test_without_new_data_a_run_stops_after_example_gen(
    config: Config, tmp_path: Path, modules: Modules, seen: SeenBefore | None
) -> None:
    launched = install(modules, tmp_path, seen=seen)
    result, observer = RunResult(), Observer()
    plan = RunPlan(run="r", root=tmp_path, config=config, only_new_data=True)
    run_nodes(plan, result, observer, quiet=True)
    assert result.seen_before == observer.repeats == seen
    assert (len(launched) == 1) == (seen is not None)
    assert (observer.states == ["done"]) == (seen is not None)


def test_nodes_from_one_on_are_executed_anew_and_none_after_the_last(
    config: Config, tmp_path: Path, modules: Modules
) -> None:
    launched = install(modules, tmp_path)
    plan = RunPlan(
        run="r", root=tmp_path, config=config, from_node=Node.DATA_GATE, to_node=Node.TRANSFORM
    )
    run_nodes(plan, RunResult(), Observer())
    assert launched[-3:] == [
        ("ExampleValidator", True), ("DataGate", False), ("Transform", False),
    ]  # fmt: skip


def test_a_container_skips_nodes_that_the_run_does_not_have(config: Config, tmp_path: Path) -> None:
    asked = [Node.TRANSFORM, Node.WARM_START_RESOLVER]
    plan = RunPlan(run="r", root=tmp_path, config=config, nodes=asked)
    assert planned_nodes(plan) == [Node.TRANSFORM]
    warm = load_config(SAMPLE, ["training.warm_start=true"])
    assert planned_nodes(plan.model_copy(update={"config": warm})) == asked


@pytest.mark.parametrize("warm_start", ["true", "false"])
def test_the_order_of_nodes_is_one_of_the_compiled_plan(warm_start: str, tmp_path: Path) -> None:
    from pipeline.dag import create_pipeline
    from pipeline.layout import Layout
    from pipeline.run.launch import compile_plan, node_ids

    config = load_config(SAMPLE, [f"training.warm_start={warm_start}"])
    plan = compile_plan(create_pipeline(config, Layout(tmp_path, config.name)), "run")
    order = nodes_of(config)
    assert sorted(node_ids(plan)) == sorted(order)
    for node in plan.nodes:
        needed = node.pipeline_node.upstream_nodes
        place = order.index(Node(node.pipeline_node.node_info.id))
        assert set(needed) <= set(order[:place])
