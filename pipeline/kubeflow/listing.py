"""What there is of a pipeline on the cluster: versions, schedules and latest runs."""

from __future__ import annotations

import itertools
from datetime import datetime

from pydantic import BaseModel, Field

from components.config import Config
from pipeline.kubeflow.client import Cluster
from pipeline.kubeflow.schedule import Schedule, list_schedules
from pipeline.kubeflow.status import RunStatus, summarise
from pipeline.kubeflow.submit import find_pipeline, pipeline_name

VERSIONS, RUNS = 10, 10  # how many are listed
LOOKED_AT = 1000  # latest runs of the namespace among which those of the pipeline are looked for


class Version(BaseModel):
    """One version of a pipeline."""

    id: str
    name: str
    created: datetime | None = None


class Listing(BaseModel):
    """What there is of a pipeline; everything the newest first."""

    pipeline: str
    pipeline_id: str | None = None  # None where it was never submitted
    versions: list[Version] = Field(default_factory=list)
    schedules: list[Schedule] = Field(default_factory=list)
    runs: list[RunStatus] = Field(default_factory=list)  # without their tasks


def list_pipeline(cluster: Cluster, config: Config) -> Listing:
    """Returns what there is of a configuration's pipeline on the cluster.

    Raises:
        KubeflowError: the cluster refused or went away.
    """
    name = pipeline_name(config.name)
    pipeline_id = find_pipeline(cluster, config.name)
    if pipeline_id is None:
        return Listing(pipeline=name)
    versions = cluster.pages(
        cluster.client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id
    )
    return Listing(
        pipeline=name,
        pipeline_id=pipeline_id,
        versions=[
            Version(
                id=item.pipeline_version_id,
                name=item.display_name or item.name,
                created=item.created_at,
            )
            for item in itertools.islice(versions, VERSIONS)
        ],
        schedules=list_schedules(cluster, pipeline_id),
        runs=_runs(cluster, pipeline_id),
    )


def _runs(cluster: Cluster, pipeline_id: str) -> list[RunStatus]:
    """Returns the latest runs of a pipeline; the API has no filter for it, so it looks through the namespace's."""
    latest = itertools.islice(
        cluster.pages(cluster.client.list_runs, "runs", namespace=cluster.namespace), LOOKED_AT
    )
    own = (
        run
        for run in latest
        if run.pipeline_version_reference
        and run.pipeline_version_reference.pipeline_id == pipeline_id
    )
    return [summarise(cluster, run) for run in itertools.islice(own, RUNS)]
