"""Events of OpenLineage, checked with the classes that are published with its schema."""

from __future__ import annotations

from typing import Any

import pytest
from openlineage.client import event_v2, facet_v2

from components.config.tracking import OpenLineage
from pipeline.tracking.facts import gather_facts
from pipeline.tracking.lineage import SCHEMA, events_of, run_id
from tests.pipeline.stored_runs import StoredRuns
from tests.pipeline.tracking.tracked_root import ERROR, FAILED, RUN, load_sample, write_root

RECEIVER = OpenLineage(url="http://receiver.example")
Json = dict[str, Any]

_STATISTICS = facet_v2.output_statistics_output_dataset
CLASSES: dict[str, Any] = {
    "parent": facet_v2.parent_run.ParentRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": _STATISTICS.OutputStatisticsOutputDatasetFacet,
    "dataQualityAssertions":
        facet_v2.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
}  # fmt: skip
ITEMS: dict[str, Any] = {
    "fields": facet_v2.schema_dataset.SchemaDatasetFacetFields,
    "assertions": facet_v2.data_quality_assertions_dataset.Assertion,
    "run": facet_v2.parent_run.Run,
    "job": facet_v2.parent_run.Job,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> StoredRuns:
    return write_root(tmp_path_factory.mktemp("root"))


def events(runs: StoredRuns, run: str) -> list[Json]:
    return events_of(RECEIVER, gather_facts(load_sample(), runs.layout, run))


def require_valid(event: Json) -> None:
    """Builds the published classes of an event: they refuse unknown, missing and wrong values."""
    assert event["schemaURL"] == f"{SCHEMA}#/$defs/RunEvent"
    run, job = event["run"], event["job"]
    event_v2.RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        eventType=event_v2.RunState[event["eventType"]],
        run=event_v2.Run(runId=run["runId"], facets=facets_of(run)),
        job=event_v2.Job(namespace=job["namespace"], name=job["name"], facets=facets_of(job)),
        inputs=[dataset_of(item, event_v2.InputDataset, "inputFacets") for item in event["inputs"]],
        outputs=[
            dataset_of(item, event_v2.OutputDataset, "outputFacets") for item in event["outputs"]
        ],
    )


def dataset_of(item: Json, kind: Any, key: str) -> Any:
    assert set(item) <= {"namespace", "name", "facets", key}
    own = {key: facets_of(item, key)}
    return kind(namespace=item["namespace"], name=item["name"], facets=facets_of(item), **own)


def facets_of(holder: Json, key: str = "facets") -> dict[str, Any]:
    return {name: facet_of(name, facet) for name, facet in holder.get(key, {}).items()}


def facet_of(name: str, facet: Json) -> Any:
    kind = CLASSES[name]
    assert facet["_schemaURL"] == kind._get_schema()
    content = {key: value for key, value in facet.items() if not key.startswith("_")}
    for key, item in ITEMS.items():
        if isinstance(content.get(key), list):
            content[key] = [item(**value) for value in content[key]]
        elif key in content:
            content[key] = item(**content[key])
    return kind(**content)


def test_events_are_as_published(runs: StoredRuns) -> None:
    sent = [*events(runs, RUN), *events(runs, FAILED)]
    for event in sent:
        require_valid(event)
    facets = {name for event in sent for name in facet_names(event)}
    assert facets == set(CLASSES)


def facet_names(event: Json) -> set[str]:
    found = {*event["run"]["facets"], *event["job"]["facets"]}
    for item in [*event["inputs"], *event["outputs"]]:
        for key in ("facets", "inputFacets", "outputFacets"):
            found |= set(item.get(key, {}))
    return found


@pytest.mark.parametrize("change", [{"fields": [{"kind": "x"}]}, {"extra": 1}, {"_schemaURL": "x"}])
def test_the_check_refuses_what_is_not_as_published(runs: StoredRuns, change: Json) -> None:
    event = next(item for item in events(runs, RUN) if item["job"]["name"].endswith("Trainer"))
    event["inputs"][0]["facets"]["schema"].update(change)
    with pytest.raises((TypeError, AssertionError)):
        require_valid(event)


def test_each_node_starts_and_ends_below_its_run(runs: StoredRuns) -> None:
    sent = events(runs, RUN)
    by_job: dict[str, list[Json]] = {}
    for event in sent:
        by_job.setdefault(event["job"]["name"], []).append(event)
    nodes = ["ExampleGen", "DataGate", "Trainer", "Evaluator", "Pusher"]
    assert set(by_job) == {"sample", *(f"sample.{node}" for node in nodes)}
    assert all(
        [event["eventType"] for event in pair] == ["START", "COMPLETE"] for pair in by_job.values()
    )
    trainer = by_job["sample.Trainer"][-1]["run"]
    assert trainer["facets"]["parent"]["run"] == {"runId": run_id(RUN)}
    assert trainer["runId"] == run_id(RUN, "Trainer")
    assert [event["eventTime"] for event in sent] == sorted(event["eventTime"] for event in sent)


def test_what_a_node_read_and_wrote_is_named(runs: StoredRuns) -> None:
    sent = {
        event["job"]["name"].removeprefix("sample."): event
        for event in events(runs, RUN)
        if event["eventType"] == "COMPLETE"
    }
    files = runs.layout.root / "files"
    assert [(item["namespace"], item["name"]) for item in sent["ExampleGen"]["inputs"]] == [
        ("file", "/log/events.parquet"),
        ("s3://log", "o.csv"),
    ]
    assert [item["name"] for item in sent["Trainer"]["inputs"]] == [f"{files}/examples"]
    pushed = runs.layout.root / "sample" / "serving" / "17"
    assert str(pushed) in [item["name"] for item in sent["Pusher"]["outputs"]]
    judged = {item["name"]: item for item in sent["Evaluator"]["inputs"]}[f"{files}/model"]
    [gate] = judged["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (gate["success"], gate["name"]) == (True, "f1_macro >= 0.2: 0.878 passed")


def test_a_failed_node_says_why(runs: StoredRuns) -> None:
    ended = [event for event in events(runs, FAILED) if event["eventType"] != "START"]
    kinds = {event["job"]["name"]: event["eventType"] for event in ended}
    assert kinds == {"sample": "FAIL", "sample.ExampleGen": "COMPLETE", "sample.Trainer": "FAIL"}
    [trainer] = [event for event in ended if event["job"]["name"] == "sample.Trainer"]
    assert trainer["run"]["facets"]["errorMessage"]["message"] == ERROR
