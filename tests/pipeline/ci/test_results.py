"""The results of a small training, read back from JUnit XML and Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from junitparser import JUnitXml, TestCase

from components.contracts.decision_results import DecisionMetrics, DecisionResults
from components.contracts.evaluation import Evaluation
from pipeline.ci.results import Results, render_summary, write_junit

Finish = Callable[..., Results]
ROOT = Path("ci/runs")


def cases(results: Results, path: Path) -> dict[str, TestCase]:
    write_junit(results, path)
    return {case.name: case for suite in JUnitXml.fromfile(str(path)) for case in suite}


def test_every_gate_and_every_node_has_a_test_case(finish: Finish, tmp_path: Path) -> None:
    found = cases(finish(0.55, 0.7), tmp_path / "ci" / "junit.xml")
    assert list(found) == [
        "Macro F1 is at least 0.6",
        "Macro F1 is not below the blessed model's",
        "ExampleGen",
        "Trainer",
    ]
    least, worse, cached, trained = found.values()
    text = "f1_macro >= 0.6: 0.550 FAILED (0.050 below)"
    assert (least.result[0].message, least.result[0].text) == (text, text)
    assert worse.result[0].message == "change of f1_macro >= +0: -0.150 FAILED (0.150 below)"
    assert cached.is_passed
    assert cached.system_out == "from the cache"
    assert trained.is_passed


def test_names_of_test_cases_do_not_depend_on_the_results(finish: Finish, tmp_path: Path) -> None:
    assert [*cases(finish(0.55, 0.7), tmp_path / "1.xml")] == [
        *cases(finish(0.9, 0.7), tmp_path / "2.xml")
    ]


def test_a_node_that_failed_is_an_error_with_its_text(finish: Finish, tmp_path: Path) -> None:
    nodes = [
        {"id": "ExampleGen", "state": "failed", "seconds": 1},
        {"id": "Trainer", "state": "waiting"},
    ]
    error = "no such column\nLog: x"
    first, second = cases(finish(None, nodes=nodes, error=error), tmp_path / "1.xml").values()
    assert (first.result[0].message, first.result[0].text) == ("no such column", error)
    assert second.is_skipped


def test_a_run_that_fails_before_its_first_node_is_an_error(finish: Finish, tmp_path: Path) -> None:
    write_junit(finish(None, nodes=[], error="out of memory?"), tmp_path / "1.xml")
    assert JUnitXml.fromfile(str(tmp_path / "1.xml")).errors == 1


def test_control_characters_leave_the_xml_well_formed(finish: Finish, tmp_path: Path) -> None:
    nodes = [{"id": "ExampleGen", "state": "failed", "seconds": 1}]
    error = "learner \x00\x1b[31m\ufffe \udcff </failure> & ]]>\nLog: x"
    [case] = cases(finish(None, nodes=nodes, error=error), tmp_path / "1.xml").values()
    shown = "learner \\u0000\\u001b[31m\\ufffe \\udcff </failure> & ]]>"
    assert (case.result[0].message, case.result[0].text) == (shown, f"{shown}\nLog: x")


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_metrics_before_and_after_with_the_change(finish: Finish) -> None:
    text = render_summary(finish(0.75, 0.7, pushed_version="/ci/runs/algebra/serving/3"), ROOT)
    assert text.startswith("<!-- mastery ci: algebra -->\n### ✅ algebra: passed\n")
    assert "**Macro F1 0.700 → 0.750** (+0.050, better) on 40 test examples, against" in text
    assert "against the latest other blessed model in ci/runs." in text
    assert ["Macro F1", "0.700", "0.750", "+0.050", "better"] in rows(text)
    assert ["Log loss", "0.300", "0.250", "−0.050", "better"] in rows(text)
    assert ["Recall of yes", "0.500", "0.500", "±0", "same"] in rows(text)
    assert ["team=a&#124;b", "9", "0.000", "1.000", "+1.000", "better"] in rows(text)
    assert ["ExampleGen", "cached", "0.1 s"] in rows(text)
    assert "2 nodes, 1 from the cache" in text
    assert "Pushed: /ci/runs/algebra/serving/3." in text


def with_trees(results: Results, interval: tuple[float, float]) -> Results:
    """Returns the results with boosted trees that are worse by 0.02 in macro F1."""
    assert results.evaluation is not None
    trees = {
        "name": "trees",
        "meaning": "trees",
        "overall": {"examples": 40, "metrics": {"f1_macro": 0.73}},
        "gains": {"f1_macro": {"value": 0.02, "interval": interval}},
    }
    more = {"confidence": 0.9, "simple_models": [trees]}
    content = {**results.evaluation.model_dump(by_alias=True), **more}
    return replace(results, evaluation=Evaluation.model_validate(content))


def test_simple_models_are_compared_with(finish: Finish, tmp_path: Path) -> None:
    better = with_trees(finish(0.75, 0.7), (0.011, 0.032))
    claim = "Better than boosted trees by 0.020 in macro F1 (90% interval 0.011 to 0.032)."
    row = ["Boosted trees", "0.730", "+0.020, 0.011 to 0.032", claim]
    assert row in rows(render_summary(better, ROOT))
    case = cases(better, tmp_path / "1.xml")["Compared with boosted trees"]
    assert (case.is_passed, case.system_out) == (True, claim)

    open_one = with_trees(finish(0.75, 0.7), (-0.011, 0.032))
    case = cases(open_one, tmp_path / "2.xml")["Compared with boosted trees"]
    assert case.is_passed
    assert case.system_out.startswith("Not better than boosted trees by more than chance: ")


def test_decisions_are_told_with_how_early_they_are_right(finish: Finish) -> None:
    results = finish(0.75, 0.7)
    assert results.evaluation is not None
    measured = DecisionMetrics.of(40, 10, 12, 9, None)
    overall = results.evaluation.overall.model_copy(update={"decisions": {"call": measured}})
    day = {"day": 7, "learners": 40, "of_class": 10, "named": 12, "right": 9, "on_day": measured}
    call = DecisionResults.model_validate(
        {
            "name": "call",
            "class": "no",
            "who": "them",
            "threshold": 0.3,
            "purpose": "recall",
            "early_warning": {"days": [day], "headline": "By day 7 it finds 90% of them."},
        }
    )
    evaluation = results.evaluation.model_copy(update={"overall": overall, "decisions": [call]})
    found = rows(render_summary(replace(results, evaluation=evaluation), ROOT))
    assert ["call (no)", "0.900", "0.750", "0.300", "By day 7 it finds 90% of them."] in found


def test_every_row_of_a_table_has_the_same_columns(finish: Finish) -> None:
    widths: list[int] = []
    for line in render_summary(finish(0.75, 0.7), ROOT).splitlines():
        if not line.startswith("|"):
            widths.clear()
            continue
        widths.append(line.count("|"))
        assert len(set(widths)) == 1, line


def test_a_model_that_got_worse_is_stopped(finish: Finish) -> None:
    text = render_summary(finish(0.69, 0.7), ROOT)
    assert "### ❌ algebra: a gate failed" in text
    assert [
        "Macro F1 is not below the blessed model&#39;s",
        "≥ 0",
        "−0.010 (0.690 against 0.700)",
        "**failed**",
    ] in rows(text)
    assert "Pushed: nothing, because a gate failed." in text


def test_without_a_baseline_the_summary_says_so(finish: Finish) -> None:
    text = render_summary(finish(0.75), ROOT)
    assert "**Macro F1 0.750** on 40 test examples. Not compared: there is none." in text
    assert ["Macro F1", "–", "0.750", "–", ""] in rows(text)


def test_the_summary_of_a_failed_run_has_its_error_escaped(finish: Finish) -> None:
    text = render_summary(finish(None, error="class <b>x</b> @everybody `|`\nLog: a.log"), ROOT)
    assert "### ❌ algebra: the run failed" in text
    escaped = "class &#60;b&#62;x&#60;/b&#62; @\u200beverybody &#96;&#124;&#96;\nLog: a.log\n</pre>"
    assert escaped in text
    assert "Metric" not in text


def test_a_comment_shows_the_largest_slices_only(finish: Finish) -> None:
    results = finish(0.75, 0.7)
    assert results.evaluation is not None
    [first] = results.evaluation.slices
    many = [
        first.model_copy(update={"slice": {"team": f"t{index}"}, "examples": index})
        for index in range(500)
    ]
    evaluation = results.evaluation.model_copy(update={"slices": many})
    text = render_summary(Results(results.record, results.config, evaluation), ROOT)
    assert "Macro F1 in 40 slices, the 460 smallest left out" in text
    assert [row[0] for row in rows(text) if row[0].startswith("team=")] == [
        f"team=t{n}" for n in range(460, 500)
    ]


def test_names_of_slices_are_escaped_in_the_comment(finish: Finish) -> None:
    results = finish(0.75, 0.7)
    assert results.evaluation is not None
    [first] = results.evaluation.slices
    hostile = "x\n\n| forged | row |\n@everybody #1 <img src=x> [a](b) \x1b[2J"
    named = first.model_copy(update={"slice": {"team": hostile}})
    evaluation = results.evaluation.model_copy(update={"slices": [named]})
    text = render_summary(Results(results.record, results.config, evaluation), ROOT)
    [row] = [line for line in text.splitlines() if line.startswith("| team=")]
    assert row.count("|") == text.splitlines()[text.splitlines().index(row) - 1].count("|")
    assert "x &#124; forged &#124; row &#124; @\u200beverybody #\u200b1 " in row
    assert "#\u200b1 &#60;img src=x&#62; &#91;a&#93;(b)" in row
    assert "\x1b" not in text
    assert "<img" not in text
