"""A run as events of OpenLineage: what each node read and wrote, when, and how it went.

Ids follow from the run's id, so events that are sent twice are the same.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from components import sending
from components.node.node_id import Node

if TYPE_CHECKING:
    from components.config.tracking import OpenLineage
    from pipeline.store.lookups import StoredArtifact
    from pipeline.tracking.facts import NodeFacts, RunFacts

Json = dict[str, Any]

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
PRODUCER = "https://pypi.org/project/mastery/"
_NAMES = uuid.UUID("5f0c8c4e-1f0a-5d5e-9a53-6f0a1b7c2d11")  # of runs; never changed
_FACETS = {
    "parent": "1-2-0/ParentRunFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
}
_ENDS = {"failed": "FAIL", "interrupted": "ABORT", "running": "ABORT"}  # all others: COMPLETE


def run_id(run: str, node: str = "") -> str:
    """Returns the id of a run, or of one of its nodes.

    >>> run_id("20261127-211006-818e07") == run_id("20261127-211006-818e07")
    True
    """
    return str(uuid.uuid5(_NAMES, f"{run}/{node}"))


def events_of(config: OpenLineage, facts: RunFacts) -> list[Json]:
    """Returns the events of a run in the order of their times: its own, and two for each node."""
    record = facts.record
    own = _Frame(config.namespace, record.name, run_id(record.run), job_type="PIPELINE")
    end = _ENDS.get(record.state, "COMPLETE")
    message = record.error if end == "FAIL" else None
    events = [
        own.event("START", record.started),
        own.event(end, facts.ended, facets=_error(message)),
    ]
    for node in facts.nodes:
        events += _events_of_node(own, facts, node)
    return sorted(events, key=lambda event: (event["eventTime"], event["eventType"] != "START"))


def _events_of_node(own: _Frame, facts: RunFacts, node: NodeFacts) -> Iterator[Json]:
    name = node.record.id
    frame = _Frame(
        own.namespace,
        f"{own.name}.{name}",
        run_id(facts.record.run, name),
        job_type="TASK",
        parent=own,
    )
    inputs = [*_log_files(facts, node), *_datasets(facts, node, node.inputs, "inputFacets")]
    end = _ENDS.get(node.record.state, "COMPLETE")
    yield frame.event("START", node.started, inputs=inputs)
    yield frame.event(
        end,
        node.ended,
        facets=_error(facts.record.error if end == "FAIL" else None),
        inputs=inputs,
        outputs=[*_datasets(facts, node, node.outputs, "outputFacets"), *_version(facts, node)],
    )


class _Frame:
    """What the events of one run of one job have in common."""

    def __init__(
        self, namespace: str, name: str, run: str, *, job_type: str, parent: _Frame | None = None
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.run = run
        self._job_type = job_type
        self._parent = parent

    def event(
        self,
        kind: str,
        time: datetime,
        *,
        facets: Mapping[str, Json] | None = None,
        inputs: Iterable[Json] = (),
        outputs: Iterable[Json] = (),
    ) -> Json:
        """Returns one event."""
        run_facets = {
            "processing_engine": _facet(
                "processing_engine", name="mastery", version=version("mastery")
            ),
            **(facets or {}),
        }
        if self._parent:
            job = {"namespace": self.namespace, "name": self._parent.name}
            run_facets["parent"] = _facet("parent", run={"runId": self._parent.run}, job=job)
        return {
            "eventType": kind,
            "eventTime": time.isoformat(),
            "run": {"runId": self.run, "facets": run_facets},
            "job": {
                "namespace": self.namespace,
                "name": self.name,
                "facets": {
                    "jobType": _facet(
                        "jobType",
                        processingType="BATCH",
                        integration="MASTERY",
                        jobType=self._job_type,
                    )
                },
            },
            "inputs": [*inputs],
            "outputs": [*outputs],
            "producer": PRODUCER,
            "schemaURL": f"{SCHEMA}#/$defs/RunEvent",
        }


def dataset_of(uri: str) -> Json:
    """Returns namespace and name of a file or folder, as OpenLineage names them.

    >>> dataset_of("s3://bucket/runs/7")
    {'namespace': 's3://bucket', 'name': 'runs/7'}
    >>> dataset_of("/runs/sample/nodes")
    {'namespace': 'file', 'name': '/runs/sample/nodes'}
    """
    scheme, separator, path = uri.partition("://")
    if not separator or scheme == "file":
        return {"namespace": "file", "name": path or uri}
    place, _, name = path.partition("/")
    return {"namespace": f"{scheme}://{place}", "name": name.rstrip("/") or "/"}


def _datasets(
    facts: RunFacts,
    node: NodeFacts,
    artifacts: Mapping[str, list[StoredArtifact]],
    place: str,
) -> Iterator[Json]:
    """Yields artifacts, with what is known of their content."""
    for key, group in artifacts.items():
        for artifact in group:
            dataset = dataset_of(artifact.uri)
            if key == "examples" and facts.summary:
                dataset["facets"] = {"schema": _facet("schema", fields=_fields(facts))}
            facets = _facets_in_place(facts, Node(node.record.id), key, place)
            if facets:
                dataset[place] = facets
            yield dataset


def _facets_in_place(facts: RunFacts, node: Node, key: str, place: str) -> Json:
    """Returns what a node found out about an input, or counted in an output."""
    if (node, key, place) == (Node.EXAMPLE_GEN, "examples", "outputFacets") and facts.summary:
        return {"outputStatistics": _facet("outputStatistics", rowCount=facts.summary.outcomes)}
    if (node, key, place) == (Node.DATA_GATE, "statistics", "inputFacets") and facts.anomalies:
        found: list[Json] = [
            {"assertion": "schema", "success": False, "column": item.column, "name": str(item)}
            for item in facts.anomalies.anomalies
        ]
        return _assertions(found or [{"assertion": "schema", "success": True}])
    if (node, key, place) == (Node.EVALUATOR, "model", "inputFacets") and facts.evaluation:
        gates = facts.evaluation.gates
        found = [
            {"assertion": f"gate {gate.metric}", "success": gate.passed, "name": gate.text}
            for gate in gates
        ]
        return _assertions(found) if found else {}
    return {}


def _assertions(found: list[Json]) -> Json:
    return {"dataQualityAssertions": _facet("dataQualityAssertions", assertions=found)}


def _fields(facts: RunFacts) -> list[Json]:
    config = facts.config
    features = {**config.steps.features, **config.context}
    named = [{"name": name, "type": feature.type} for name, feature in features.items()]
    return [*named, {"name": config.label.column, "type": config.label.task}]


def _log_files(facts: RunFacts, node: NodeFacts) -> Iterator[Json]:
    """Yields the files that ExampleGen read."""
    if node.record.id != Node.EXAMPLE_GEN or facts.summary is None:
        return
    for files in facts.summary.files.values():
        for file, rows in files.items():
            facet = _facet("inputStatistics", rowCount=rows)
            yield {**dataset_of(file), "inputFacets": {"inputStatistics": facet}}


def _version(facts: RunFacts, node: NodeFacts) -> Iterator[Json]:
    """Yields the folder of the version that Pusher pushed."""
    if node.record.id == Node.PUSHER and facts.record.pushed_version:
        yield dataset_of(facts.record.pushed_version)


def _error(message: str | None) -> dict[str, Json]:
    if message is None:
        return {}
    facet = _facet("errorMessage", message=message, programmingLanguage="PYTHON")
    return {"errorMessage": facet}


def _facet(kind: str, /, **content: Any) -> Json:
    path = _FACETS[kind]
    schema = f"https://openlineage.io/spec/facets/{path}.json#/$defs/{path.partition('/')[2]}"
    return {"_producer": PRODUCER, "_schemaURL": schema, **content}


def address_of(config: OpenLineage) -> str:
    """Returns the receiver's address.

    Raises:
        UndeliveredError: the variable that holds it is missing.
    """
    return config.url or sending.secret(config.url_env or "")


def send_events(config: OpenLineage, events: Iterable[Json], *, seconds: float) -> None:
    """Sends events one by one, as every receiver takes them.

    Args:
        config: the receiver.
        events: in their order.
        seconds: the longest to wait for an answer.

    Raises:
        UndeliveredError: it refuses one, or cannot be reached.
    """
    headers = {"Content-Type": "application/json"}
    if config.api_key_env:
        headers["Authorization"] = f"Bearer {sending.secret(config.api_key_env)}"
    url = f"{address_of(config).rstrip('/')}/{config.endpoint.lstrip('/')}"
    for event in events:
        sending.post(url, json.dumps(event).encode(), headers, timeout=seconds)
