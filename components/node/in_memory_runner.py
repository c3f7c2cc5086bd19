"""A Beam runner for one process: calls the functions of a pipeline, and nothing else.

Beam's own runner for one process, FnApiRunner, treats itself as a remote worker: it pickles every
function, serializes the pipeline, encodes what passes between stages, and keeps it. On a small log
that is most of a node's time, and on a large one most of its memory. This runner passes elements
on as they are, one at a time, from a source through all functions to the next grouping. Only what
a grouping has collected, and what a later function reads as a whole, is ever kept.

A pipeline runs in rounds. In each round elements flow from sources, and from groupings that were
completed earlier, through the functions whose side inputs are known. The order of elements depends
on the pipeline alone.

Windows other than the global one, state, timers and splittable functions are not supported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.internal import pickler
from apache_beam.io.iobase import BoundedSource, Read
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.pvalue import AsSideInput, PCollection
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState
from apache_beam.transforms.combiners import curry_combine_fn
from apache_beam.transforms.window import GlobalWindows

from components.node.beam_operations import (
    GLOBAL,
    Accept,
    Call,
    Combine,
    Forward,
    Group,
    Grouping,
    Operation,
    Outlet,
    View,
    read,
)
from components.node.beam_patches import WRITTEN_FOR, patch_beam

SOURCES = (beam.Impulse, beam.Create, Read)
GROUPINGS = (beam.GroupByKey, beam.CombinePerKey)


def make_runner() -> PipelineRunner:
    """Returns the runner for this process; Beam's own with versions of Beam that are not known."""
    if beam.__version__.startswith(WRITTEN_FOR):
        patch_beam()
        return InMemoryRunner()

    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    return FnApiRunner()


class InMemoryRunner(PipelineRunner):  # type: ignore[misc]
    """Runs a pipeline in the calling thread, without workers, coders or copies.

    ```python
    with beam.Pipeline(argv=["--runner=components.node.in_memory_runner.make_runner"]) as pipe:
        pipe | beam.Create([1, 2]) | beam.Map(print)
    ```
    """

    def apply(self, transform: Any, input: Any, options: PipelineOptions) -> Any:  # noqa: A002
        """Expands a transform, except those that the runner performs as a whole."""
        if isinstance(transform, beam.Reshuffle):
            return input
        if _is_performed_whole(transform):
            return PCollection(input.pipeline)
        return super().apply(transform, input, options)

    def run_pipeline(
        self,
        pipeline: beam.Pipeline,
        options: PipelineOptions,  # noqa: ARG002 - part of Beam's interface
    ) -> PipelineResult:
        """Runs a pipeline to its end.

        Raises:
            NotImplementedError: the pipeline needs what this runner does not do.
            Exception: whatever a function of the pipeline raised.
        """
        visitor = _FindSteps()
        pipeline.visit(visitor)
        _Run(_plan_rounds(visitor.steps)).run()
        return _Done(PipelineState.DONE)


class _Done(PipelineResult):  # type: ignore[misc]
    """The result of a pipeline that has ended."""

    def wait_until_finish(self, duration: int | None = None) -> str:  # noqa: ARG002
        state: str = self.state
        return state


def _is_performed_whole(transform: Any) -> bool:
    if isinstance(transform, Read):
        return isinstance(transform.source, BoundedSource)
    return isinstance(transform, beam.Create | beam.CombinePerKey)


@dataclass(eq=False)
class _Step:
    """A transform of a pipeline that has no parts.

    Attributes:
        label: its name in the pipeline.
        transform: what Beam calls a primitive, or one that is performed whole.
        inputs: the collections whose elements it takes.
        views: the side inputs.
        outputs: its collections by tag; None is the main one.
        takes: the round in which it takes its input.
        gives: the round in which it gives its output; a grouping's is later.
    """

    label: str
    transform: Any
    inputs: list[PCollection]
    views: list[AsSideInput]
    outputs: dict[str | None, PCollection]
    takes: int = 0
    gives: int = 0

    @property
    def is_source(self) -> bool:
        return isinstance(self.transform, SOURCES)

    @property
    def is_grouping(self) -> bool:
        return isinstance(self.transform, GROUPINGS)


class _FindSteps(PipelineVisitor):  # type: ignore[misc]
    """Collects the steps of a pipeline, each after those whose output it takes."""

    def __init__(self) -> None:
        self.steps: list[_Step] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        node = transform_node
        inputs = [item for item in node.inputs if isinstance(item, PCollection)]
        outputs = {
            None if tag in (None, "None") else str(tag): output
            for tag, output in node.outputs.items()
            if isinstance(output, PCollection)
        }
        step = _Step(node.full_label, node.transform, inputs, [*node.side_inputs], outputs)
        _check(step)
        self.steps.append(step)


def _check(step: _Step) -> None:
    """Raises NotImplementedError for a step that the runner cannot perform."""
    transform = step.transform
    lacking = None
    if isinstance(transform, beam.ParDo):
        signature = transform._signature  # Beam's `DoFnSignature` of the function
        if signature.is_stateful_dofn() or signature.is_splittable_dofn():
            lacking = "state, timers and splittable functions"
        elif isinstance(transform, beam.WindowInto) and (
            transform.windowing.windowfn != GlobalWindows()
        ):
            lacking = "windows"
    elif not isinstance(transform, (*SOURCES, *GROUPINGS, beam.Flatten)):
        lacking = type(transform).__name__
    if lacking:
        raise NotImplementedError(
            f"the runner for one process has no {lacking}, which {step.label} needs; name another "
            "one in beam.args, such as --runner=FnApiRunner"
        )


@dataclass
class _Plan:
    """The steps of a pipeline, and when the elements of its collections are there.

    Attributes:
        steps: each after those whose output it takes.
        given: the round in which a collection is given.
        needed: the last round in which a collection is taken, or read as a side input.
    """

    steps: list[_Step]
    given: dict[PCollection, int]
    needed: dict[PCollection, int]


def _plan_rounds(steps: list[_Step]) -> _Plan:
    """Puts each step into the earliest round possible, but has sources and groupings give late.

    What a source gives to functions that still wait for side inputs would have to be kept. A
    function whose output nobody takes, such as one that only counts, can wait to the end.
    """
    givers = {output: step for step in steps for output in step.outputs.values()}
    _take_early(steps, givers)

    last_round = max((step.gives for step in steps), default=0)
    latest: dict[_Step, int] = {}
    for step in reversed(steps):
        last_give = latest.get(step, last_round)
        if step.is_source or step.is_grouping:
            step.gives = last_give
        last_take = step.takes if step.is_grouping else last_give
        for giver in [givers[item] for item in step.inputs]:
            # What is merged keeps the order in which it was made.
            is_early = giver.is_grouping and isinstance(step.transform, beam.Flatten)
            bound = giver.gives if is_early else last_take
            latest[giver] = min(latest.get(giver, bound), bound)
        for view in step.views:
            giver = givers[view.pvalue]
            latest[giver] = min(latest.get(giver, step.takes - 1), step.takes - 1)
    _take_early(steps, givers)

    needed: dict[PCollection, int] = {}
    for step in steps:
        for item in (*step.inputs, *(view.pvalue for view in step.views)):
            needed[item] = max(needed.get(item, 0), step.takes)
    return _Plan(steps, {item: step.gives for item, step in givers.items()}, needed)


def _take_early(steps: list[_Step], givers: dict[PCollection, _Step]) -> None:
    """Moves steps behind what they wait for; none is moved to the front."""
    for step in steps:
        inputs = [givers[item].gives for item in step.inputs]
        views = [givers[view.pvalue].gives + 1 for view in step.views]
        if not step.is_source:
            step.takes = max([step.takes, *inputs, *views])
            step.gives = max(step.gives, step.takes + 1) if step.is_grouping else step.takes


class _Run:
    """One run of a plan."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._kept: dict[PCollection, list[Any]] = {}  # elements that later rounds need, in order
        self._groups: dict[_Step, Grouping] = {}  # those that have not given their output yet
        self._used: set[int] = set()  # ids of the functions that a step has used

    def run(self) -> None:
        """Lets all elements flow."""
        plan = self._plan
        for number in range(1 + max((step.gives for step in plan.steps), default=0)):
            self._run_round(number)
            for item in [item for item in self._kept if plan.needed[item] <= number]:
                del self._kept[item]

    def _run_round(self, number: int) -> None:
        outlets: dict[PCollection, Outlet] = defaultdict(Outlet)
        giving = [step for step in self._plan.steps if step.gives == number]
        taking = [step for step in self._plan.steps if step.takes == number and not step.is_source]
        operations: list[Operation] = []

        with ExitStack() as stack:
            for step in taking:
                operation = self._operation(step, outlets)
                stack.callback(operation.teardown)
                operation.start()
                operations.append(operation)

            self._connect(number, giving, taking, operations, outlets)
            self._replay(number, taking, operations)
            for step in giving:
                if step.is_source or step.is_grouping:
                    _pass_on(self._made_by(step), outlets[step.outputs[None]])
            for operation in operations:
                operation.finish()

    def _made_by(self, step: _Step) -> Iterable[Any]:
        """Returns the elements of a source, or what a grouping has come to."""
        return self._groups.pop(step).results() if step.is_grouping else read(step.transform)

    def _connect(
        self,
        number: int,
        giving: list[_Step],
        taking: list[_Step],
        operations: list[Operation],
        outlets: dict[PCollection, Outlet],
    ) -> None:
        """Connects the collections given in this round with what takes or keeps them."""
        for step, operation in zip(taking, operations, strict=True):
            for item in step.inputs:
                if self._plan.given[item] == number:
                    outlets[item].targets.append(operation.process)

        for step in giving:
            for output in step.outputs.values():
                if self._plan.needed.get(output, 0) > number:
                    kept = self._kept[output] = []
                    outlets[output].targets.append(_keep_in(kept))

    def _replay(self, number: int, taking: list[_Step], operations: list[Operation]) -> None:
        """Gives what earlier rounds have kept to the steps of this one."""
        for step, operation in zip(taking, operations, strict=True):
            for item in step.inputs:
                if self._plan.given[item] < number:
                    for element in self._kept[item]:
                        operation.process(GLOBAL.with_value(element))

    def _operation(self, step: _Step, outlets: dict[PCollection, Outlet]) -> Operation:
        transform = step.transform
        receivers = defaultdict(Outlet, {tag: outlets[item] for tag, item in step.outputs.items()})
        if isinstance(transform, beam.ParDo):
            views = [View(view, self._kept[view.pvalue]) for view in step.views]
            return Call(transform, self._own(transform.fn), views, receivers)
        if isinstance(transform, beam.Flatten):
            return Forward(receivers[None])

        grouping: Grouping
        if isinstance(transform, beam.CombinePerKey):
            combine = curry_combine_fn(self._own(transform.fn), transform.args, transform.kwargs)
            grouping = Combine(combine)
        else:
            grouping = Group()
        self._groups[step] = grouping
        return grouping

    def _own(self, function: Any) -> Any:
        """Returns a function, or a copy if another step has used it: functions hold state."""
        if id(function) in self._used:
            return pickler.loads(pickler.dumps(function))
        self._used.add(id(function))
        return function


def _keep_in(kept: list[Any]) -> Accept:
    return lambda element: kept.append(element.value)


def _pass_on(elements: Iterable[Any], outlet: Outlet) -> None:
    for element in elements:
        outlet.receive(GLOBAL.with_value(element))
