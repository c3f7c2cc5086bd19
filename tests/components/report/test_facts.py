from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from components.config import Config
from components.contracts.evaluation import Evaluation
from components.contracts.log_summary import ReplayedLog
from components.contracts.model_card import ModelCard
from components.errors import MasteryError
from components.report.data_and_training import log_rows
from components.report.facts import RunFacts, Sources, load_facts
from tests.components.report.conftest import log_summary
from tests.components.report.evaluations import classification, regression

MakeRun = Callable[..., Sources]


@pytest.fixture
def facts(make_run: MakeRun) -> RunFacts:
    return load_facts(make_run(classification(), surprise=True))


def test_statistics_are_those_of_the_train_split(facts: RunFacts) -> None:
    assert [*facts.data.features] == ["train", "eval", "test"]
    features = {feature.name: feature for feature in facts.data.features["train"]}
    assert [*features] == [
        "dwell",
        "event_type",
        "as_of",
        "gender",
    ]  # steps first; neither learner nor label
    dwell, words, gender = features["dwell"], features["event_type"], features["gender"]
    assert dwell.missing == pytest.approx(
        1 - math.exp(-3 / 30), abs=0.02
    )  # NaN steps: values up to 3 of mean 30
    assert dwell.mean == pytest.approx(33, abs=1.5)
    assert dwell.histogram is not None
    assert dwell.histogram.edges[0] == dwell.low
    assert words.missing == pytest.approx(0.05, abs=0.01)  # empty words
    assert words.shares == pytest.approx({"video": 0.6, "quiz": 0.2, "forum": 0.15}, abs=0.02)
    assert words.different == 3
    assert gender.missing == pytest.approx(0.1, abs=0.03)  # rows without a value


def test_anomalies_are_read_by_split(facts: RunFacts) -> None:
    assert facts.data.anomalies is not None
    assert [(found.split, found.column) for found in facts.data.anomalies] == [("test", "surprise")]


def test_the_fingerprint_is_the_configuration_s_own(make_run: MakeRun) -> None:
    config = Config.model_validate(
        {
            "name": "campus",
            "data": {"events": "e.parquet", "outcomes": "o.parquet"},
            "schema": "s.pbtxt",
            "label": {"column": "mastery", "classes": ["low", "high"]},
            "steps": {"features": {"dwell": {"type": "numeric"}}},
            "gates": [{"metric": "f1_macro", "min": 0.5}],
        }
    )
    read = Config.model_validate_json(json.dumps(config.recipe))
    lineage = load_facts(make_run(classification(), bare=True, config=read)).lineage
    assert lineage.config.fingerprint == config.fingerprint


def test_the_model_s_code_is_read_from_its_card(make_run: MakeRun, tmp_path: Path) -> None:
    card = ModelCard(name="campus", task="classification", config={}, code="abc123")
    card.write(tmp_path / "Format-Serving")
    sources = make_run(classification(), bare=True, served_model=tmp_path / "Format-Serving")
    assert load_facts(sources).lineage.code == {"model": "abc123", "report": "0f1e2d3c4b5a6978"}


def test_missing_artifacts_are_left_out(make_run: MakeRun) -> None:
    facts = load_facts(make_run(classification(), bare=True, run_folder=None))
    assert (facts.training, facts.nodes, facts.data.features, facts.data.anomalies) == (
        None,
        [],
        {},
        None,
    )


def test_residuals_are_predicted_minus_actual(make_run: MakeRun) -> None:
    content, predictions = regression()
    found = load_facts(make_run(content, predictions=predictions, bare=True)).regression
    assert found is not None
    assert sum(map(sum, found.grid)) == sum(found.residuals.counts) == 900
    errors = predictions["prediction"] - predictions["label"]
    assert (found.residuals.edges[0], found.residuals.edges[-1]) == pytest.approx(
        (errors.min(), errors.max())
    )


def test_no_metrics_no_report(make_run: MakeRun) -> None:
    sources = make_run(classification(), bare=True)
    (sources.evaluation / "metrics.json").unlink()
    with pytest.raises(
        MasteryError, match=r"metrics\.json: the Evaluator's metrics are missing; run the node"
    ):
        load_facts(sources)


def test_the_evaluation_is_taken_over_whole() -> None:
    content = classification()
    facts = Evaluation.from_json(json.dumps(content))
    assert facts.overall.metrics == content["overall"]["metrics"]
    assert [item.slice for item in facts.slices] == [item["slice"] for item in content["slices"]]
    assert [gate.class_ for gate in facts.gates] == [gate["class"] for gate in content["gates"]]


def test_what_is_replayed_is_a_row_of_the_log() -> None:
    log = log_summary(["low", "high"])
    assert not [row for row in log_rows(log) if row.name == "Replayed"]
    replayed = ReplayedLog(spans=["2026-11-17", "2026-11-18"], learners=31, outcomes=1204)
    [row] = [
        row
        for row in log_rows(log.model_copy(update={"replayed": replayed}))
        if row.name == "Replayed"
    ]
    assert row.value == "1,204"
    assert row.note == "outcomes of 31 learners of 2026-11-17 to 2026-11-18 (2 spans), to train on"
