"""The papers of a version: whole, escaped, and without a figure that was not measured."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import html

from components.config.metrics import METRICS, describe_metric
from components.config.papers import Papers
from components.contracts.evaluation import describe_slice
from components.contracts.papers import (
    PAGES,
    DataStatement,
    ReleaseIndex,
    VersionCard,
)
from components.papers.card import make_card
from components.papers.facts import VersionFacts
from components.papers.release import write_papers
from components.report import formats
from components.report.quality import FAR_OFF, FEW_EXAMPLES, LARGE_SLICE
from components.report.sentences import interval_sentence
from tests.components.papers.conftest import MakeFacts
from tests.components.report.evaluations import classification, regression, with_everything

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>\"&"
LAW = (
    "Regulation (EU) 2024/1689", "Article 12", "Article 13, paragraph 3", "Article 14", "Article 9",
    "Article 47", "Article 72",
)  # fmt: skip
SECTIONS = [str(number) for number in range(1, 10)]  # of Annex IV
NUMBER = re.compile(r"(?<![\w.,/-])[−+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[−+]\d+)?%?(?![\w/]|\.\d)")


def _trees(papers: dict[str, bytes]) -> dict[str, html.HtmlElement]:
    return {path: html.document_fromstring(papers[path].decode()) for path in PAGES}


def _text(tree: html.HtmlElement) -> str:
    """Returns what a person reads on a page, without charts and the configuration."""
    for element in [*tree.iter("style", "svg", "pre", "title")]:
        element.drop_tree()
    for element in tree.iter():
        if element.tag not in ("wbr", "code"):  # all others are apart from what is around them
            element.text, element.tail = f" {element.text or ''}", f" {element.tail or ''}"
    return " ".join(tree.text_content().split())


@pytest.fixture
def facts(make_facts: MakeFacts) -> VersionFacts:
    papers = {"purpose": "Help early.", "provider": "The school"}
    return make_facts(with_everything(classification()), papers=papers)


def test_every_paper_is_there_and_indexed(facts: VersionFacts) -> None:
    papers = write_papers(facts)
    index = ReleaseIndex.from_json(papers.pop("release/release.json"))
    assert {path: paper.sha256 for path, paper in index.papers.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in papers.items()
    }
    assert set(papers) == {
        "release/metrics.json", "release/model-card.html", "release/model-card.json",
        "release/technical-file.html", "release/instructions-for-use.html",
        "release/data-statement.html", "release/data-statement.json", "release/sbom.cdx.json",
    }  # fmt: skip
    assert (index.name, index.version) == ("campus", 1732251600)
    assert len(index.blanks) == len(Papers.model_fields) - 2
    assert papers["release/metrics.json"] == facts.metrics


def test_the_same_facts_give_the_same_papers(facts: VersionFacts) -> None:
    papers = write_papers(facts)
    assert write_papers(facts) == papers
    other = write_papers(facts.of(facts.manifest.model_copy(update={"version": 1732251601})))
    assert other["release/model-card.html"] == papers["release/model-card.html"].replace(
        b"1732251600", b"1732251601"
    )


def test_pages_are_self_contained_and_lead_to_one_another(facts: VersionFacts) -> None:
    papers = write_papers(facts)
    for path, tree in _trees(papers).items():
        page = papers[path].decode()
        assert not re.search(r"""(?:src|url|import)\s*[=(]?\s*["']?\s*(?:https?:)?//""", page)
        assert not list(tree.iter("script", "link", "img", "iframe", "form"))
        assert "default-src 'none'" in page
        assert tree.get("lang") == "en"
        assert tree.findtext(".//title").startswith(PAGES[path])
        links = {link.get("href") for link in tree.iter("a")}
        assert links <= {Path(other).name for other in PAGES}
        assert links >= {Path(other).name for other in PAGES}
        assert all(table.findtext("caption") for table in tree.iter("table"))
        assert tree.xpath("//a[@aria-current='page']")[0].get("href") == Path(path).name


def test_the_technical_file_has_the_nine_sections_of_the_annex(facts: VersionFacts) -> None:
    tree = _trees(write_papers(facts))["release/technical-file.html"]
    titles = [title.text_content() for title in tree.iter("h2")]
    assert [title.partition(".")[0] for title in titles] == SECTIONS
    second = [
        title.text_content()[:3] for title in tree.get_element_by_id("development").iter("h3")
    ]
    assert second == [f"({letter})" for letter in "abcdefgh"]


def test_instructions_follow_article_13(facts: VersionFacts) -> None:
    tree = _trees(write_papers(facts))["release/instructions-for-use.html"]
    titles = [title.text_content() for title in tree.iter("h2")]
    assert [title[:3] for title in titles] == [f"({letter})" for letter in "abcdef"]


def test_what_is_written_stands_in_its_place_and_each_blank_is_named(
    make_facts: MakeFacts,
) -> None:
    content = classification()
    texts = {name: f"Text of {name}.\n\nMore." for name in Papers.model_fields}
    for path, tree in _trees(write_papers(make_facts(content, papers=texts))).items():
        assert not tree.find_class("blank"), path

    blank = _trees(write_papers(make_facts(content)))
    named = {
        element.findtext("code") for tree in blank.values() for element in tree.find_class("blank")
    }
    assert named == {f"papers.{name}" for name in Papers.model_fields}

    one = _trees(write_papers(make_facts(content, papers={"purpose": texts["purpose"]})))
    written = [tree.find_class("written") for tree in one.values()]
    assert {item.text_content() for items in written for item in items} == {texts["purpose"]}


def test_everything_that_others_chose_is_escaped(make_facts: MakeFacts) -> None:
    content = with_everything(classification((HOSTILE, "partial")))
    content["slices"][0]["slice"] = {"gender": HOSTILE}
    content["gates"][0]["reason"] = HOSTILE
    papers = write_papers(make_facts(content, papers=dict.fromkeys(Papers.model_fields, HOSTILE)))
    for path, tree in _trees(papers).items():
        assert not list(tree.iter("script", "img")), path
        assert HOSTILE in tree.text_content(), path
    assert json.loads(papers["release/model-card.json"])["written"]["purpose"] == HOSTILE


def test_a_version_without_statistics_and_history_has_papers(make_facts: MakeFacts) -> None:
    papers = write_papers(make_facts(classification(), bare=True))
    assert "release/data-statement.json" not in papers
    assert "kept no summary of its log" in papers["release/data-statement.html"].decode()
    assert len(_trees(papers)) == len(PAGES)


def test_the_data_statement_counts_splits_classes_and_missing_values(facts: VersionFacts) -> None:
    statement = DataStatement.from_json(write_papers(facts)["release/data-statement.json"])
    assert facts.log is not None
    assert [(split.name, split.classes) for split in statement.splits] == [
        *facts.log.splits.items()
    ]
    for split in statement.splits:
        assert split.outcomes == sum(split.classes.values())
        assert sum(split.shares.values()) == pytest.approx(1)
        found = {feature.name: feature.missing for feature in split.features}
        assert found == {feature.name: feature.missing for feature in facts.features[split.name]}
        assert found["gender"] == pytest.approx(0.1, abs=0.06)
    assert any("By gender, in the train split" in text for text in statement.included)
    assert any("opted out" in text for text in statement.excluded)


# Every figure on a page is found in a source.


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _sources(facts: VersionFacts) -> list[Any]:
    """Returns the values of the run's own files: metrics, manifest, log, history, statistics.

    What is only drawn is left out: the points of a curve are any numbers from 0 to 1.
    """
    overall = facts.evaluation.overall.model_copy(update={"curves": {}})
    evaluation = facts.evaluation.model_copy(update={"overall": overall})
    training = facts.training.model_copy(update={"epochs": []}) if facts.training else None
    files = [evaluation, facts.manifest, facts.log, training]
    contents = [file.model_dump(mode="json", by_alias=True) for file in files if file is not None]
    statistics = [asdict(item) for items in facts.features.values() for item in items]
    for item in statistics:
        del item["histogram"]
    return [*_leaves(contents), *_leaves(statistics)]


def _derived(facts: VersionFacts) -> Iterator[float]:
    """Yields what pages compute from the sources: shares, distances, changes, counts of rows."""
    evaluation = facts.evaluation
    for row in evaluation.overall.confusion:
        yield from (cell / max(1, sum(row)) for cell in row)
        yield sum(row)
    for result in evaluation.overall.classes.values():
        yield result.support / evaluation.overall.examples
    for counts in facts.log.splits.values() if facts.log else ():
        yield from (number / max(1, sum(counts.values())) for number in counts.values())
        yield sum(counts.values())
    for gate in evaluation.gates:
        if gate.decisive is not None:
            yield abs(gate.decisive - gate.threshold)
            yield gate.measured or 0.0
    if evaluation.baseline:
        before = evaluation.baseline.overall
        for name, value in evaluation.overall.metrics.items():
            yield (value or 0.0) - (before.value_of(name) or 0.0)
        for name in evaluation.classes:
            now = evaluation.overall.value_of("recall", name) or 0.0
            yield now - (before.value_of("recall", name) or 0.0)
    yield from _gaps(facts)
    for models in (evaluation.simple_models, evaluation.gates, facts.blanks, evaluation.slices):
        yield from range(len(models) + 1)
    yield facts.config.steps.max_steps
    seeds = evaluation.seeds
    for values in seeds.metrics.values() if seeds else ():
        known = [value for value in values if value is not None]
        yield max(known) - min(known)
        yield len(values)


def _gaps(facts: VersionFacts) -> Iterator[float]:
    by_column: dict[tuple[str, ...], list[float]] = {}
    metric = "f1_macro" if facts.evaluation.classes else "rmse"
    for item in facts.evaluation.slices:
        value = item.value_of(metric)
        if value is not None and item.examples >= FEW_EXAMPLES:
            by_column.setdefault(tuple(item.slice), []).append(value)
    yield from (max(values) - min(values) for values in by_column.values())


def _renderings(value: float) -> set[str]:
    signs = [formats.signed(value), formats.signed(-value)]
    decimals = [formats.number(value, decimals=digits) for digits in range(2, 7)]
    texts = [formats.count(value), formats.percent(value), formats.exact(value)]
    texts.append(f"{100 * value:.0f}%")
    return {*signs, *decimals, *texts, formats.rough(value), f"{value:.0f}"}


def _figures_without_source(text: str, facts: VersionFacts) -> list[str]:
    """Returns the figures of a page's text that no source has."""
    sources = _sources(facts)
    confidences = [facts.evaluation.confidence, *(g.confidence for g in facts.evaluation.gates)]
    numbers = [value for value in sources if isinstance(value, int | float)]
    known = [*numbers, *_derived(facts), *(c for c in confidences if c)]
    renderings = {
        text for value in known if math.isfinite(value) for text in _renderings(float(value))
    }
    constants = {formats.exact(value) for value in (FEW_EXAMPLES, LARGE_SLICE, FAR_OFF)}

    for phrase in _known_phrases(facts, sources):
        text = re.sub(rf"(?<![\w.]){re.escape(phrase)}(?!\w|\.\d|%)", " ", text)
    found = [match.rstrip(".,") for match in NUMBER.findall(text)]
    return [figure for figure in found if figure not in renderings | constants]


def _known_phrases(facts: VersionFacts, sources: Iterable[Any]) -> list[str]:
    """Returns what is taken off a page before its figures are read, the longest first."""
    moments = [value for value in sources if isinstance(value, str) and "T" in value]
    days = []
    for value in moments:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            continue
        days += [formats.moment(moment), f"{moment.day} {moment:%B %Y}"]
    versions = [asdict(item)["version"] for item in _packages()]
    seconds = facts.training.seconds if facts.training else None
    texts = [
        *(value for value in sources if isinstance(value, str) and re.search(r"\d", value)),
        *days,
        *versions,
        *(describe_metric(name).meaning for name in METRICS),
        " ".join(interval_sentence(facts.evaluation).split()),
        formats.duration(seconds),
        *LAW,
        *(f"{number}. " for number in SECTIONS),
        "see section 6",
        "stands in section 3",
        "CycloneDX 1.6",
    ]
    return sorted({text for text in texts if text}, key=len, reverse=True)


def _packages() -> Iterable[Any]:
    from components.papers.bill_of_materials import installed_packages

    return installed_packages().values()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_figure_of_the_pages_is_one_of_the_run(make_facts: MakeFacts, task: str) -> None:
    content = classification() if task == "classification" else regression()[0]
    facts = make_facts(with_everything(content))
    papers = write_papers(facts)
    for path, tree in _trees(papers).items():
        text = _text(tree)
        assert len(NUMBER.findall(text)) > 5, path
        assert _figures_without_source(text, facts) == [], path


def _rows(tree: html.HtmlElement, caption: str) -> list[list[str]]:
    [table] = [table for table in tree.iter("table") if table.findtext("caption") == caption]
    return [
        [" ".join(cell.text_content().split()) for cell in row] for row in table.xpath("tbody/tr")
    ]


def test_figures_stand_where_they_belong(facts: VersionFacts) -> None:
    def figure(result: Any, metric: str, class_: str | None = None) -> str:
        value = formats.number(result.value_of(metric, class_))
        return f"{value} {formats.span(result.interval_of(metric, class_))}".strip()

    overall, trees = facts.evaluation.overall, _trees(write_papers(facts))
    card = trees["release/model-card.html"]
    for path in ("release/model-card.html", "release/technical-file.html"):
        shown = [row[1] for row in _rows(trees[path], "Metrics overall")]
        assert [text.replace(" ", "") for text in shown] == [
            figure(overall, name).replace(" ", "") for name in overall.metrics
        ]
    for name, row in zip(overall.classes, _rows(card, "Metrics of every class"), strict=True):
        assert row[2:5] == [
            figure(overall, metric, name) for metric in ("precision", "recall", "f1")
        ]
    regions = [item for item in facts.evaluation.slices if "region" in item.slice]
    for item, row in zip(regions, _rows(card, "Metrics by region"), strict=True):
        assert row[0] == item.slice["region"]
        assert row[2] == figure(item, "f1_macro")

    made = make_card(facts).weaknesses
    shown_weaknesses = _rows(card, "Groups of learners that are served worse")
    assert [(row[0], row[3], row[4]) for row in shown_weaknesses] == [
        (
            describe_slice(item.slice),
            f"{formats.number(item.value)} {formats.span(item.interval)}",
            formats.number(item.overall),
        )
        for item in made
    ]


def test_a_figure_that_was_not_measured_is_found(facts: VersionFacts) -> None:
    page = write_papers(facts)["release/model-card.html"].decode()
    main = formats.number(facts.evaluation.overall.metrics["f1_macro"])
    assert page.count(f"<strong>{main}</strong>") >= 1
    typed = page.replace(f"<strong>{main}</strong>", "<strong>0.9991</strong>", 1)
    assert _figures_without_source(_text(html.document_fromstring(typed)), facts) == ["0.9991"]


def test_the_configuration_in_the_technical_file_is_the_manifests(facts: VersionFacts) -> None:
    tree = _trees(write_papers(facts))["release/technical-file.html"]
    [shown] = tree.iter("pre")
    assert yaml.safe_load(shown.text_content()) == facts.manifest.config


def test_figures_of_the_card_are_those_of_the_metrics(facts: VersionFacts) -> None:
    papers = write_papers(facts)
    card = VersionCard.from_json(papers["release/model-card.json"])
    measured = set(_leaves(json.loads(papers["release/metrics.json"])))
    for part in (card.overall, *card.slices, *card.gates, *card.weaknesses):
        for value in _leaves(part.model_dump(mode="json", by_alias=True)):
            if isinstance(value, float):
                assert value in measured
