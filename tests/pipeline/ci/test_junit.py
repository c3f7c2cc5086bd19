"""JUnit XML of a small training, read back as a CI server does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from junitparser import JUnitXml, TestCase

from pipeline.ci.junit import write_junit
from pipeline.ci.results import Results

Finish = Callable[..., Results]


def cases(results: Results, path: Path) -> dict[str, TestCase]:
    write_junit(results, path)
    return {case.name: case for suite in JUnitXml.fromfile(str(path)) for case in suite}


def test_a_case_a_gate_and_one_a_node(finish: Finish, tmp_path: Path) -> None:
    found = cases(finish(0.55, 0.7), tmp_path / "ci" / "junit.xml")
    assert list(found) == [
        "Macro F1 is at least 0.6",
        "Macro F1 is not below the blessed model's",
        "ExampleGen",
        "Trainer",
    ]
    least, worse, cached, trained = found.values()
    assert (
        least.result[0].message
        == least.result[0].text
        == "f1_macro >= 0.6: 0.550 FAILED (0.050 below)"
    )
    assert worse.result[0].message == "change of f1_macro >= +0: -0.150 FAILED (0.150 below)"
    assert cached.is_passed
    assert cached.system_out == "from the cache"
    assert trained.is_passed


def test_names_do_not_follow_what_was_found(finish: Finish, tmp_path: Path) -> None:
    assert [*cases(finish(0.55, 0.7), tmp_path / "1.xml")] == [
        *cases(finish(0.9, 0.7), tmp_path / "2.xml")
    ]


def test_a_node_that_failed_is_an_error_with_its_text(finish: Finish, tmp_path: Path) -> None:
    nodes = [
        {"id": "ExampleGen", "state": "failed", "seconds": 1},
        {"id": "Trainer", "state": "waiting"},
    ]
    first, second = cases(
        finish(None, nodes=nodes, error="no such column\nLog: x"), tmp_path / "1.xml"
    ).values()
    assert (first.result[0].message, first.result[0].text) == (
        "no such column",
        "no such column\nLog: x",
    )
    assert second.is_skipped


def test_a_run_that_never_got_to_a_node_is_an_error_too(finish: Finish, tmp_path: Path) -> None:
    write_junit(finish(None, nodes=[], error="out of memory?"), tmp_path / "1.xml")
    assert JUnitXml.fromfile(str(tmp_path / "1.xml")).errors == 1


def test_control_characters_of_others_leave_it_well_formed(finish: Finish, tmp_path: Path) -> None:
    nodes = [{"id": "ExampleGen", "state": "failed", "seconds": 1}]
    error = "learner \x00\x1b[31m\ufffe \udcff </failure> & ]]>\nLog: x"
    [case] = cases(finish(None, nodes=nodes, error=error), tmp_path / "1.xml").values()
    shown = "learner \\u0000\\u001b[31m\\ufffe \\udcff </failure> & ]]>"
    assert (case.result[0].message, case.result[0].text) == (shown, f"{shown}\nLog: x")
