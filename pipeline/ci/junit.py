"""JUnit XML, as CI servers read it: a test case a gate, and one a node."""

from __future__ import annotations

from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from components.command.escape import for_xml
from components.contracts.run_record import NodeRecord, RunRecord
from components.files.atomic import new_file
from components.report.verdict import say_gate
from pipeline.ci.results import Results


def write_junit(results: Results, path: Path) -> None:
    """Writes `path`, whole or not at all.

    Names of test cases say what a gate asks, never what was found: a CI server follows a case by its name.
    """
    xml = JUnitXml()  # type: ignore[no-untyped-call]
    xml.add_testsuite(_gates(results))
    xml.add_testsuite(_nodes(results.record))
    with new_file(path) as beside:
        xml.write(str(beside), pretty=True)


def _gates(results: Results) -> TestSuite:
    suite = TestSuite("gates")  # type: ignore[no-untyped-call]
    for gate in results.gates:
        case = TestCase(for_xml(say_gate(gate)), f"mastery.{results.record.name}.gates")
        text = for_xml(f"{gate.text}; {gate.reason}" if gate.reason else gate.text)
        if gate.passed:
            case.system_out = text
        else:
            case.result = [_with_text(Failure(for_xml(gate.text), "gate"), text)]
        suite.add_testcase(case)
    return suite


def _nodes(record: RunRecord) -> TestSuite:
    suite = TestSuite("nodes")  # type: ignore[no-untyped-call]
    for node in record.nodes:
        suite.add_testcase(_node(node, record))
    if record.state in ("failed", "interrupted") and not any(
        _has_ended_badly(node) for node in record.nodes
    ):
        suite.add_testcase(_node(NodeRecord(id="start", state="failed"), record))
    return suite


def _node(node: NodeRecord, record: RunRecord) -> TestCase:
    case = TestCase(node.id, f"mastery.{record.name}.nodes", round(node.seconds or 0.0, 1))
    if _has_ended_badly(node):
        text = for_xml(record.error or "The run was interrupted.")
        case.result = [_with_text(Error(text.splitlines()[0], "error"), text)]
    elif node.state == "waiting":
        case.result = [Skipped("The run ended before it.")]
    elif node.state == "cached":
        case.system_out = "from the cache"
    return case


def _with_text(result: FinalResult, text: str) -> FinalResult:
    """Returns the result with the whole text as its body, for servers that show nothing but it."""
    result.text = text
    return result


def _has_ended_badly(node: NodeRecord) -> bool:
    return node.state in ("failed", "interrupted")
