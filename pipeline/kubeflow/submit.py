"""Uploads a compiled pipeline: one pipeline per configuration, one version per content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.kubeflow.client import CONFLICT, Cluster, KubeflowError, filter_by_name

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.kubeflow.jobs import Job

_DIGITS = 12  # of the content's digest: two of 16 million versions may collide


@dataclass(frozen=True)
class Submission:
    """A version of a pipeline on the cluster.

    Attributes:
        pipeline: the pipeline's name.
        version: the version's name, which ends in a digest of the file's content.
        uploaded: False where the same content was there already.
    """

    pipeline: str
    pipeline_id: str
    version: str
    version_id: str
    uploaded: bool

    def describe(self) -> str:
        """Returns one line that says what was done."""
        if self.uploaded:
            return f"Uploaded version {self.version} of pipeline {self.pipeline}."
        return f"Unchanged: version {self.version} of pipeline {self.pipeline} is there already."


@contextmanager
def compiled_pipeline(
    config: Config, config_file: Path, settings: Sequence[str], job: Job | None = None
) -> Iterator[Path]:
    """Yields the pipeline file of a configuration, which is gone after the block.

    Args:
        config: what to run.
        config_file: where it was read from.
        settings: `key=value` of `--set`.
        job: another command in place of the pipeline.

    Raises:
        MasteryError: see `compile_pipeline` and `compile_job`.
    """
    with TemporaryDirectory(prefix="mastery-") as folder:
        file = Path(folder, "pipeline.yaml")
        if job is None:
            from pipeline.kubeflow.compile import compile_pipeline

            compile_pipeline(config, config_file, file, settings=settings)
        else:
            from pipeline.kubeflow.jobs import compile_job

            compile_job(config, config_file, file, job, settings)
        yield file


def name_of(config: Config, job: Job | None = None) -> str:
    """Returns the name that the pipeline of a configuration is filed under, or that of a job."""
    return f"{config.name}-{job}" if job else config.name


def pipeline_name(name: str) -> str:
    """Returns the name of a configuration's pipeline: Kubernetes takes no underscore.

    >>> pipeline_name("algebra_2005")
    'algebra-2005'
    """
    return name.replace("_", "-").rstrip("-")


def upload_pipeline(cluster: Cluster, name: str, file: Path) -> Submission:
    """Uploads a compiled pipeline as a new version, unless its content is there already.

    Args:
        cluster: where to.
        name: the configuration's name; the pipeline is created when it is new.
        file: the compiled pipeline, a YAML file.

    Raises:
        KubeflowError: the cluster refused or did not answer.
    """
    pipeline = pipeline_name(name)
    version = f"{pipeline}-{hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]}"
    pipeline_id = find_pipeline(cluster, name) or _create_pipeline(cluster, pipeline)
    version_id = _find_version(cluster, pipeline_id, version)
    if version_id:
        return Submission(pipeline, pipeline_id, version, version_id, uploaded=False)

    try:
        with cluster.translate_errors():
            uploaded = cluster.client.upload_pipeline_version(
                str(file), version, pipeline_id=pipeline_id
            )
    except KubeflowError as error:
        was_faster = error.status == CONFLICT  # another upload of the same content
        version_id = _find_version(cluster, pipeline_id, version) if was_faster else None
        if version_id is None:
            raise
        return Submission(pipeline, pipeline_id, version, version_id, uploaded=False)
    version_id = str(uploaded.pipeline_version_id)
    return Submission(pipeline, pipeline_id, version, version_id, uploaded=True)


def find_pipeline(cluster: Cluster, name: str) -> str | None:
    """Returns the ID of a configuration's pipeline, None where it was never submitted."""
    wanted = pipeline_name(name)
    found = cluster.pages(
        cluster.client.list_pipelines,
        "pipelines",
        filter=filter_by_name(wanted),
        namespace=cluster.namespace,
    )
    return _id_of(wanted, found, "pipeline_id")


def find_or_create_experiment(cluster: Cluster, config: Config) -> str:
    """Returns the ID of the experiment that the configuration's runs are filed under."""
    import kfp_server_api

    name = config.kubeflow.experiment or config.name
    found = cluster.pages(
        cluster.client.list_experiments,
        "experiments",
        filter=filter_by_name(name),
        namespace=cluster.namespace,
    )
    experiment_id = _id_of(name, found, "experiment_id")
    if experiment_id:
        return experiment_id

    body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=cluster.namespace or None)
    with cluster.translate_errors():
        created = cluster.client.experiments.experiment_service_create_experiment(body)
    return str(created.experiment_id)


def _find_version(cluster: Cluster, pipeline_id: str, version: str) -> str | None:
    versions = cluster.pages(
        cluster.client.list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
        filter=filter_by_name(version),
    )
    return _id_of(version, versions, "pipeline_version_id")


def _create_pipeline(cluster: Cluster, name: str) -> str:
    """Creates a pipeline without a version; KFP's own upload would name the first one after it."""
    import kfp_server_api

    body = kfp_server_api.V2beta1Pipeline(
        name=name, display_name=name, namespace=cluster.namespace or None
    )
    with cluster.translate_errors():
        created = cluster.client.pipelines.pipeline_service_create_pipeline(body)
    return str(created.pipeline_id)


def _id_of(name: str, items: Iterable[Any], field: str) -> str | None:
    """Returns the ID of the item called exactly `name`."""
    return next((str(getattr(item, field)) for item in items if item.display_name == name), None)
