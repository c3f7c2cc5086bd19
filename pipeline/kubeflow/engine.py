"""Whether containers on Kubeflow can have another engine run the pipelines of their nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.config.beam import is_endpoint, split_endpoint
from components.errors import ConfigError

if TYPE_CHECKING:
    from components.config import Config, Kubeflow
    from components.config.beam import Beam

# The label of pods that submit jobs; configs/flink/base/network.yaml lets them, and no others.
CLIENT = ("mastery.beam/client", "true")
_HERE = ("localhost", "127.0.0.1", "::1")


def check_engine(config: Config, *, mounts_volumes: bool = True) -> None:
    """Checks that the engine of `beam` can be used from a container, and has what nodes read.

    Args:
        config: what to run.
        mounts_volumes: whether containers mount `kubeflow.volumes`; Vertex AI's do not.

    Raises:
        ConfigError: it cannot; lists all problems.
    """
    if not config.beam.runs_elsewhere:
        return
    problems = [*_unreachable(config.beam)]
    if not mounts_volumes:
        problems.append(_on_vertex(config.beam))
    elif not _root_is_shared(config.kubeflow):
        problems.append(_not_shared(config.kubeflow))
    if problems:
        raise ConfigError("\n".join(problems))


def _unreachable(beam: Beam) -> Iterator[str]:
    if beam.runner is None:
        if beam.argument("environment_type") == "LOOPBACK":
            yield (
                "beam.args: expected --environment_type=EXTERNAL with the address of "
                "`mastery beam-workers` in --environment_config, found LOOPBACK: workers of "
                "other machines do not reach a container of Kubeflow."
            )
        return

    if beam.sdk_workers is None:
        yield (
            "beam.sdk_workers: expected host:port of `mastery beam-workers`, as TaskManagers reach "
            "it, found none: they do not reach a container of Kubeflow. With configs/flink it is "
            "localhost:50000."
        )
    server = beam.flink_job_server
    if server is None or not is_endpoint(server):
        yield (
            "beam.flink_job_server: expected host:port of a job server that runs, found "
            f"{server or 'none'}: containers of Kubeflow start none. With configs/flink it is "
            "mastery-beam-jobs:8099."
        )
    endpoints = {"flink_master": beam.flink_master, "flink_job_server": server}
    for key, endpoint in endpoints.items():
        if endpoint and is_endpoint(endpoint) and split_endpoint(endpoint)[0] in _HERE:
            yield (
                f"beam.{key}: expected an address that containers of Kubeflow reach, found "
                f"{endpoint}, which is in the container itself."
            )


def _root_is_shared(kubeflow: Kubeflow) -> bool:
    return kubeflow.is_on_volume(kubeflow.root) and kubeflow.storage is None


def _not_shared(kubeflow: Kubeflow) -> str:
    return (
        "kubeflow.root: expected a folder on a volume of kubeflow.volumes, and no "
        f"kubeflow.storage, found {kubeflow.storage or f'{kubeflow.root} on no volume'}: the "
        "engine's workers read and write what nodes do, at the same paths."
    )


def _on_vertex(beam: Beam) -> str:
    key = "args" if beam.runner is None else "runner"
    return (
        f"beam.{key}: expected no other engine with --target vertex, found "
        f"{beam.runner or beam.argument('runner')}: Vertex AI mounts no volume that its workers "
        "could share."
    )
