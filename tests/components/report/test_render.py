from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lxml import html

from components.contracts.provenance import DataProvenance
from components.contracts.push_result import PushResult
from components.report.facts import Sources, load_facts
from components.report.render import render_report
from tests.components.report.evaluations import (
    CLASSES,
    classification,
    regression,
    with_everything,
)

MakeRun = Callable[..., Sources]
SECTIONS = [
    "gates", "metrics", "slices", "curves", "calibration", "training", "data", "nodes", "lineage",
]  # fmt: skip
HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>\"&"


def _page(sources: Sources) -> tuple[str, html.HtmlElement]:
    page = render_report(load_facts(sources))
    return page, html.document_fromstring(page)


def _text(element: html.HtmlElement) -> str:
    return " ".join(element.text_content().split())


def _sections(tree: html.HtmlElement) -> list[str]:
    return [section.get("id") for section in tree.findall(".//section")]


def _rows(tree: html.HtmlElement, caption: str) -> list[list[str]]:
    [table] = [table for table in tree.iter("table") if table.findtext("caption") == caption]
    return [
        [_text(cell) for cell in row if cell.tag in ("th", "td")]
        for row in table.iterfind("tbody/tr")
    ]


def _add_slices(content: dict[str, Any], many: int) -> None:
    """Adds that many slices of a column `unit`, all alike."""
    content["slices"] += [
        content["slices"][0] | {"slice": {"unit": f"unit {index}"}} for index in range(many)
    ]


def test_every_section_is_there_and_in_the_contents(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    assert _sections(tree) == SECTIONS
    assert [link.get("href") for link in tree.iterfind(".//nav//a")] == [
        f"#{name}" for name in SECTIONS
    ]


def test_the_page_is_self_contained_and_small(make_run: MakeRun) -> None:
    content = classification(tuple(f"level {index}" for index in range(9)))
    _add_slices(content, 200)
    page, tree = _page(make_run(content))
    assert len(page.encode()) < 500_000
    assert not re.search(r"""(?:src|href|url|import)\s*[=(]?\s*["']?\s*(?:https?:)?//""", page)
    assert not list(tree.iter("script", "link", "img", "iframe"))
    assert "default-src 'none'" in page


def test_tables_and_charts_speak_to_screen_readers(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    assert tree.get("lang") == "en"
    assert all(table.findtext("caption") for table in tree.iter("table"))
    assert all(cell.get("scope") for cell in tree.iter("th"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in tree.iter("svg"))
    named = [section.get("aria-labelledby") for section in tree.iter("section")]
    assert all(tree.get_element_by_id(name) is not None for name in named)
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_every_svg_is_well_formed(make_run: MakeRun) -> None:
    page, _ = _page(make_run(classification()))
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(charts) > 20
    for chart in charts:
        ET.fromstring(chart)


def test_numbers_are_those_of_the_metrics(make_run: MakeRun) -> None:
    content = classification()
    _, tree = _page(make_run(content))
    overall = content["overall"]
    shown = [row[1] for row in _rows(tree, "Metrics overall")]
    assert shown == [f"{value:.3f}" for value in overall["metrics"].values()]
    for row, name in zip(_rows(tree, "Metrics of every class"), CLASSES, strict=True):
        measures = overall["classes"][name]
        assert row[0] == name
        assert row[1].split()[0] == f"{measures['support']:,}"
        assert [cell.split()[0] for cell in row[2:]] == [
            f"{measures[key]:.3f}" for key in ("precision", "recall", "f1", "auc")
        ]
    for row, counts in zip(_rows(tree, "Confusion matrix"), overall["confusion"], strict=True):
        cells = [f"{n:,}{100 * n / sum(counts):.1f}%" for n in counts]
        assert row[1:] == [*cells, f"{sum(counts):,}"]
    slices = {
        item["slice"]["region"]: item for item in content["slices"] if "region" in item["slice"]
    }
    for row in _rows(tree, "Metrics by region"):
        assert row[1] == f"{slices[row[0]]['examples']:,}"
        assert row[2].split()[0] == f"{slices[row[0]]['metrics']['f1_macro']:.3f}"


def test_intervals_stand_beside_their_numbers_and_are_explained_once(make_run: MakeRun) -> None:
    content = with_everything(classification())
    _, tree = _page(make_run(content))
    overall = content["overall"]
    for row, (name, value) in zip(
        _rows(tree, "Metrics overall"), overall["metrics"].items(), strict=True
    ):
        low, high = overall["intervals"][name]
        assert row[1] == f"{value:.3f}{low:.3f} to {high:.3f}"
    low, high = overall["classes"][CLASSES[0]]["intervals"]["recall"]
    recall = overall["classes"][CLASSES[0]]["recall"]
    assert _rows(tree, "Metrics of every class")[0][3] == f"{recall:.3f} {low:.3f} to {high:.3f}"
    assert _text(tree).count("95% interval: how far chance reaches") == 1


def test_without_intervals_none_are_shown(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    shown = [_text(tree.get_element_by_id(name)) for name in ("gates", "metrics", "slices")]
    assert not [text for text in shown if "interval" in text.lower() or "whiskers" in text]
    assert not tree.find_class("interval")
    assert not tree.find_class("whisker")


def test_simple_models_are_compared_on_all_outcomes_and_by_slice(make_run: MakeRun) -> None:
    content = with_everything(classification())
    _, tree = _page(make_run(content))
    claims = [_text(item)[2:] for item in tree.find_class("claims")[0]]
    low, high = content["simple_models"][2]["gains"]["f1_macro"]["interval"]
    assert claims[2] == (
        f"Better than boosted trees by 0.030 in macro F1 (95% interval {low:.3f} to {high:.3f})."
    )
    assert [claim.split(" ", 2)[0] for claim in claims] == ["Better", "Not", "Better"]

    own, *others = _rows(tree, "This model and simpler ones, on the same outcomes")
    assert own[1] == f"{content['overall']['metrics']['f1_macro']:.3f}"
    assert others[2] == [
        "Boosted treesWhat trees stands for.",
        *(
            f"{content['simple_models'][2]['overall']['metrics'][name]:.3f}"
            for name in ("f1_macro", "accuracy", "auc", "log_loss")
        ),
        f"+0.030 {low:.3f} to {high:.3f}0",
    ]
    by_gender = _rows(tree, "Gains by gender")
    low, high = content["simple_models"][1]["slice_gains"][1]["f1_macro"]["interval"]
    assert by_gender[1][3] == f"+0.010 {low:.3f} to {high:.3f}0".replace("-", "−")


def test_slices_where_a_simple_model_is_better_are_named(make_run: MakeRun) -> None:
    content = with_everything(classification())
    content["simple_models"][1]["slice_gains"][1]["f1_macro"] = {
        "value": -0.02,
        "interval": [-0.03, -0.01],
    }
    _, tree = _page(make_run(content))
    expected = "by more than chance: logistic regression where gender=f."
    assert expected in _text(tree.get_element_by_id("simpler"))


def test_every_seed_has_a_column_and_a_dot(make_run: MakeRun) -> None:
    content = with_everything(classification())
    _, tree = _page(make_run(content))
    value = content["overall"]["metrics"]["f1_macro"]
    assert _rows(tree, "Metrics of every seed")[0] == [
        "Macro F1", f"{value:.3f}", f"{value + 0.004:.3f}", f"{value - 0.003:.3f}", "0.007", "",
    ]  # fmt: skip
    assert len(tree.xpath("//circle[@class='first']")) == 4
    assert len(tree.xpath("//circle[@class='other']")) == 8


def test_large_slices_whose_probabilities_are_off_are_marked(make_run: MakeRun) -> None:
    content = classification()
    sizes = {item["slice"].get("gender"): item for item in content["slices"]}
    assert sizes["f"]["examples"] > 500
    assert sizes["m"]["examples"] > 500
    sizes["f"]["metrics"]["ece"], sizes["m"]["metrics"]["ece"] = 0.051, 0.05
    sizes[""]["metrics"]["ece"] = 0.3
    _, tree = _page(make_run(content))
    marked = {row[0]: row[6] for row in _rows(tree, "Metrics by gender")}
    assert marked == {"(missing)": "0.300", "f": "0.051 off", "m": "0.050"}
    assert "gender=f (0.051)" in _text(tree.get_element_by_id("calibration"))


def test_calibration_has_a_curve_per_class(make_run: MakeRun) -> None:
    content = classification()
    _, tree = _page(make_run(content))
    section = tree.get_element_by_id("calibration")
    errors = [row[1] for row in _rows(tree, "Calibration error of every class")]
    assert errors == [f"{content['overall']['classes'][name]['ece']:.3f}" for name in CLASSES]
    bins = content["overall"]["curves"][CLASSES[0]]["calibration"]["examples"]
    assert len(section.xpath(".//circle[contains(@class, 's1')]")) == len(bins)


@pytest.mark.parametrize(
    ("temperature", "words"), [(1.25, "softened"), (0.8, "sharpened"), (1.0, "as they were")]
)
def test_a_temperature_is_explained(make_run: MakeRun, temperature: float, words: str) -> None:
    sources = make_run(classification())
    path = sources.model_run / "history.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": temperature}))
    text = _text(_page(sources)[1].get_element_by_id("training"))
    assert re.search(rf"Temperature{temperature:.3f}.*{words}", text)


def test_the_change_against_the_blessed_model_is_shown(make_run: MakeRun) -> None:
    content = classification()
    _, tree = _page(make_run(content))
    rows = _rows(tree, "This model and the blessed model before it, on the same outcomes")
    new, old = (
        part["metrics"]["f1_macro"] for part in (content["overall"], content["baseline"]["overall"])
    )
    assert rows[0] == ["Macro F1", f"{new:.3f}", f"{old:.3f}", f"+{new - old:.3f} better"]
    assert [row[0] for row in rows[4:]] == [f"Recall of {name}" for name in CLASSES]


def test_small_slices_are_marked_and_out_of_the_gap(make_run: MakeRun) -> None:
    content = classification()
    _, tree = _page(make_run(content))
    small = {
        item["slice"]["gender"]
        for item in content["slices"]
        if "gender" in item["slice"] and item["examples"] < 30
    }
    assert small == {""}
    marked = {row[0] for row in _rows(tree, "Metrics by gender") if row[1].endswith("few")}
    assert marked == {"(missing)"}
    gap = next(
        _text(p)
        for p in tree.get_element_by_id("slices").iter("p")
        if "Largest gap" in p.text_content()
    )
    assert "(missing)" not in gap


def test_many_slices_are_cut_to_the_largest(make_run: MakeRun) -> None:
    content = classification()
    _add_slices(content, 70)
    _, tree = _page(make_run(content))
    assert len(_rows(tree, "Metrics by unit")) == 30
    assert "40 smaller ones are in metrics.json" in _text(tree)


def test_moments_are_dates(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    [row] = [row for row in _rows(tree, "Statistics by feature") if row[0] == "as_of"]
    assert all(cell.startswith("2026-") for cell in (row[3], *row[4:7]))


def test_features_of_a_split_that_differs_are_marked(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    drift = {row[0]: row[-1] for row in _rows(tree, "Statistics by feature")}
    assert re.fullmatch(r"eval [+−]0\.\d\d SD ?test \+\d\.\d\d SD apart", drift["dwell"])
    assert re.fullmatch(r"eval \d\.\d pts ?test \d\.\d pts", drift["event_type"])


def test_recall_of_a_class_missing_from_a_slice_is_a_dash(make_run: MakeRun) -> None:
    content = classification()
    content["slices"][0]["classes"][CLASSES[0]] |= {"support": 0, "recall": 0.0}
    _, tree = _page(make_run(content, bare=True))
    assert _rows(tree, "Metrics by gender")[0][7] == "–"


def test_failed_gates_are_prominent(make_run: MakeRun) -> None:
    content = classification(floor=0.95)
    _, tree = _page(make_run(content))
    assert _text(tree.find(".//h1")) == "✗ Not pushed: 1 of 4 gates failed"
    rows = _rows(tree, "Gates")
    value = content["overall"]["metrics"]["f1_macro"]
    assert rows[0] == [
        "Macro F1 is at least 0.95",
        "≥ 0.95",
        f"{value:.3f}",
        f"−{0.95 - value:.3f}",
        "✗ FAILED",
    ]
    assert [row[-1] for row in rows[1:]] == ["✓ passed"] * 3


def _without_baseline(content: dict[str, Any]) -> str:
    content["baseline"] = None
    return "No model has been blessed before this one"


def _without_slices(content: dict[str, Any]) -> str:
    content["slices"] = []
    return "No slices are configured"


def _without_curves(content: dict[str, Any]) -> str:
    content["overall"].pop("curves")
    return "Class by class"


def _without_auc(content: dict[str, Any]) -> str:
    content["overall"]["metrics"]["auc"] = None
    content["overall"]["classes"][CLASSES[0]]["auc"] = None
    return "–"


@pytest.mark.parametrize(
    "take_away", [_without_baseline, _without_slices, _without_curves, _without_auc]
)
def test_parts_of_an_evaluation_may_be_missing(
    make_run: MakeRun, take_away: Callable[[dict[str, Any]], str]
) -> None:
    content = classification()
    expected = take_away(content)
    _, tree = _page(make_run(content, bare=True))
    assert expected in _text(tree)


def test_a_report_needs_metrics_only(make_run: MakeRun) -> None:
    sources = make_run(
        classification(), bare=True, run_folder=None, run_id=None, data=DataProvenance()
    )
    _, tree = _page(sources)
    assert _sections(tree) == [name for name in SECTIONS if name != "nodes"]
    assert "There is no history of the training" in _text(tree)
    assert "The splits were not compared with the schema" in _text(tree)


def test_the_device_and_its_warning_are_shown(make_run: MakeRun) -> None:
    sources = make_run(classification())
    [history] = sources.model_run.glob("history.json")
    facts = json.loads(history.read_text())
    warning = "fitted on the CPU, although this machine has a GPU"
    history.write_text(
        json.dumps(
            {**facts, "device": "CPU", "device_warning": warning, "precision": "mixed_bfloat16"}
        )
    )
    assert f"CPU, in mixed_bfloat16: {warning}" in _text(_page(sources)[1])


def test_workers_and_those_that_were_lost_are_shown(make_run: MakeRun) -> None:
    sources = make_run(classification())
    assert "Workers" not in _text(_page(sources)[1])
    history = sources.model_run / "history.json"
    lost = "worker 2 (pid 4711) was lost in epoch 3 (killed by SIGKILL); resuming from epoch 2"
    facts = {**json.loads(history.read_text()), "workers": 3, "lost_workers": [lost]}
    history.write_text(json.dumps(facts))
    text = _text(_page(sources)[1])
    assert "Workers" in text
    assert lost in text


def test_passed_but_not_pushed(make_run: MakeRun) -> None:
    _, tree = _page(
        make_run(
            classification(),
            bare=True,
            push=PushResult(pushed=False, reason="push.enabled is false"),
        )
    )
    assert _text(tree.find(".//h1")) == "✗ Not pushed"
    assert "passed all 4 gates; it was not pushed, because push.enabled is false" in _text(tree)


def test_anomalies_are_listed(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification(), surprise=True))
    assert [row[:2] for row in _rows(tree, "Anomalies")] == [["surprise", "test"]]


def test_regression_has_predictions_in_place_of_curves(make_run: MakeRun) -> None:
    content, predictions = regression()
    _, tree = _page(make_run(content, predictions=predictions))
    expected = ["predictions" if name == "curves" else name for name in SECTIONS]
    assert _sections(tree) == [name for name in expected if name != "calibration"]
    text = _text(tree)
    assert "Confusion" not in text
    assert f"its RMSE is {content['overall']['metrics']['rmse']:.3f}" in text


def test_names_from_a_log_are_text_and_never_markup(make_run: MakeRun, tmp_path: Path) -> None:
    content = classification((HOSTILE, "b"), regions=(HOSTILE, "south"))
    content["slices"][0]["slice"] = {HOSTILE: HOSTILE}
    content["gates"][0] |= {"reason": HOSTILE, "class": HOSTILE, "slice": HOSTILE}
    nodes = tmp_path / "nodes.json"
    data = DataProvenance(fingerprint=HOSTILE, spans=[HOSTILE])
    sources = make_run(content, run_id=HOSTILE, data=data, paths={HOSTILE: HOSTILE}, surprise=True)
    nodes.write_text(nodes.read_text().replace("ExampleGen", "<script>1</script>"))
    page, tree = _page(sources)
    assert not list(tree.iter("script", "img"))
    assert not [
        element for element in tree.iter() if any(name.startswith("on") for name in element.attrib)
    ]
    assert "<script" not in page.lower()
    assert HOSTILE in tree.text_content()


def test_the_report_has_the_whole_configuration(make_run: MakeRun) -> None:
    _, tree = _page(make_run(classification()))
    [code] = tree.iterfind(".//pre/code")
    assert "max_steps: 100" in code.text_content()
