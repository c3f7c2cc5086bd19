"""The results of a small training: read from its run, written for CI servers and pull requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult
from markupsafe import Markup

from components.command.escape import for_comment, for_xml
from components.config.metrics import describe_metric
from components.contracts.evaluation import (
    Evaluation,
    GateVerdict,
    ModelResults,
    Result,
    describe_slice,
)
from components.contracts.run_record import NodeRecord, RunRecord
from components.files.atomic import new_file
from components.report import formats
from components.report.decisions import decision_facts
from components.report.quality import MetricRow, keep_largest, metric_row
from components.report.sentences import (
    Claim,
    claim_against,
    claim_metric,
    gate_sentence,
    gate_words,
    seeds_sentence,
    simple_model,
)

if TYPE_CHECKING:
    from components.config import Config

MOST_SLICES = 40  # a comment may hold 65,536 characters; the rest is in metrics.json

_HEADLINES = {
    "passed": "passed",
    "gates failed": "a gate failed",
    "failed": "the run failed",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class SliceChange:
    """The main metric on a slice, before and after."""

    where: str
    examples: int
    metric: MetricRow


@dataclass(frozen=True)
class SimpleModelClaim:
    """A simple model, its metric, and what can be said of the candidate against it."""

    name: str
    value: float | None
    claim: Claim


@dataclass(frozen=True)
class Results:
    """A run and its evaluation.

    Attributes:
        record: the run.
        config: what was run, as `small_config` returned it.
        evaluation: its metrics; None where it failed before there were any.
    """

    record: RunRecord
    config: Config
    evaluation: Evaluation | None

    @property
    def gates(self) -> list[GateVerdict]:
        """The gates and how they went, the one on the main metric last."""
        return self.evaluation.gates if self.evaluation else []

    @property
    def main(self) -> MetricRow | None:
        """The main metric over all examples, before and after."""
        return self._main_of(self.evaluation.overall, {}) if self.evaluation else None

    @property
    def metrics(self) -> list[MetricRow]:
        """All overall metrics, and the recall of every class."""
        if self.evaluation is None:
            return []
        after, before = self.evaluation.overall, self._before({})
        overall = [metric_row(name, after, before) for name in after.metrics]
        classes = self.evaluation.classes
        return overall + [metric_row("recall", after, before, class_) for class_ in classes]

    @property
    def simple_models(self) -> list[SimpleModelClaim]:
        """What people would use instead, in the configured order."""
        evaluation = self.evaluation
        if evaluation is None:
            return []
        metric = claim_metric(evaluation)
        return [
            SimpleModelClaim(
                name=simple_model(simple.name),
                value=simple.overall.value_of(metric),
                claim=claim_against(simple, evaluation),
            )
            for simple in evaluation.simple_models
        ]

    @property
    def slices(self) -> list[SliceChange]:
        """The main metric in every slice, in the Evaluator's order."""
        if self.evaluation is None:
            return []
        changes = []
        for result in self.evaluation.slices:
            metric = self._main_of(result, result.slice)
            changes.append(SliceChange(describe_slice(result.slice), result.examples, metric))
        return changes

    def _main_of(self, after: Result, where: Mapping[str, str]) -> MetricRow:
        gate = self.config.gates[-1]
        return metric_row(gate.metric, after, self._before(where), gate.class_, gate.decision)

    def _before(self, where: Mapping[str, str]) -> Result | None:
        """Returns the baseline's result at a slice, `{}` for all examples."""
        baseline: ModelResults | None = self.evaluation.baseline if self.evaluation else None
        return baseline.at(where) if baseline else None


def read_results(record: RunRecord, config: Config) -> Results:
    """Returns the results of a run of `config`.

    Raises:
        ContractError: the Evaluator's metrics cannot be read.
    """
    evaluation = Evaluation.read_file(Path(record.metrics)) if record.metrics else None
    return Results(record, config, evaluation)


def write_junit(results: Results, path: Path) -> None:
    """Writes JUnit XML with one test case per gate, simple model and node, whole or not at all.

    Only gates and nodes fail: a simple model that is not beaten fails the gate that asks for it.
    Names of test cases say what is asked for, never what was measured: a CI server follows a
    case by its name.
    """
    xml = JUnitXml()  # type: ignore[no-untyped-call]
    xml.add_testsuite(_gate_cases(results))
    if results.simple_models:
        xml.add_testsuite(_simple_model_cases(results))
    xml.add_testsuite(_node_cases(results.record))
    with new_file(path) as beside:
        xml.write(str(beside), pretty=True)


def _gate_cases(results: Results) -> TestSuite:
    suite = TestSuite("gates")  # type: ignore[no-untyped-call]
    for gate in results.gates:
        case = TestCase(for_xml(gate_sentence(gate)), f"mastery.{results.record.name}.gates")
        text = for_xml(f"{gate.text}; {gate.reason}" if gate.reason else gate.text)
        if gate.passed:
            case.system_out = text
        else:
            case.result = [_with_text(Failure(for_xml(gate.text), "gate"), text)]
        suite.add_testcase(case)
    return suite


def _simple_model_cases(results: Results) -> TestSuite:
    suite = TestSuite("simple models")  # type: ignore[no-untyped-call]
    for simple in results.simple_models:
        name = f"Compared with {simple.name}"
        case = TestCase(for_xml(name), f"mastery.{results.record.name}.simple_models")
        case.system_out = for_xml(simple.claim.text)
        suite.add_testcase(case)
    return suite


def _node_cases(record: RunRecord) -> TestSuite:
    suite = TestSuite("nodes")  # type: ignore[no-untyped-call]
    for node in record.nodes:
        suite.add_testcase(_node_case(node, record))

    run_failed = record.state in ("failed", "interrupted")
    if run_failed and not any(_has_failed(node) for node in record.nodes):
        suite.add_testcase(_node_case(NodeRecord(id="start", state="failed"), record))
    return suite


def _node_case(node: NodeRecord, record: RunRecord) -> TestCase:
    case = TestCase(node.id, f"mastery.{record.name}.nodes", round(node.seconds or 0.0, 1))
    if _has_failed(node):
        text = for_xml(record.error or "The run was interrupted.")
        case.result = [_with_text(Error(text.splitlines()[0], "error"), text)]
    elif node.state == "waiting":
        case.result = [Skipped("The run ended before it.")]
    elif node.state == "cached":
        case.system_out = "from the cache"
    return case


def _has_failed(node: NodeRecord) -> bool:
    return node.state in ("failed", "interrupted")


def _with_text(result: FinalResult, text: str) -> FinalResult:
    """Returns the result with the whole text as its body, for servers that show nothing else."""
    result.text = text
    return result


def render_summary(results: Results, root: Path) -> str:
    """Returns the Markdown for a pull request; its first line marks the comment to write it into.

    Args:
        results: of the run. Everything that came from a log or a configuration is escaped.
        root: where the run keeps everything.
    """
    evaluation = results.evaluation
    slices = keep_largest(results.slices, MOST_SLICES)
    latest = f"the latest other blessed model in {root}"

    page = _environment().get_template("summary.md.j2")
    return page.render(
        results=results,
        slices=slices,
        left_out=len(results.slices) - len(slices),
        headline=_HEADLINES[results.record.state],
        gates=[gate_words(gate) for gate in results.gates] if evaluation else [],
        baseline=results.config.evaluation.baseline or latest,
        no_baseline=evaluation.baseline_note if evaluation else None,
        seeds=seeds_sentence(evaluation) if evaluation else "",
        decisions=decision_facts(evaluation) if evaluation else [],
        simple_metric=describe_metric(claim_metric(evaluation)).short if evaluation else "",
        pushed=_pushed(results.record),
        cached=sum(node.state == "cached" for node in results.record.nodes),
    )


def _pushed(record: RunRecord) -> str:
    if record.state == "gates failed":
        return "nothing, because a gate failed"
    if record.state == "passed" and record.pushed_version:
        return record.pushed_version
    return "nothing"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=_escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    environment.filters["lines"] = lambda text: Markup(for_comment(text, lines=True))
    environment.globals |= {
        "signed": formats.signed,
        "count": formats.count,
        "duration": formats.duration,
        "number": formats.number,
        "span": formats.span,
        "sentence_case": formats.sentence_case,
        "told_apart": formats.told_apart,
    }
    return environment


def _escape(value: object) -> object:
    """Escapes what Markdown, its tables and HTML would interpret, and mentions of people."""
    return for_comment(value) if isinstance(value, str) and not isinstance(value, Markup) else value
