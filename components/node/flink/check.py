"""Whether a run can use the Flink cluster that its configuration names."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from components.config.beam import is_endpoint, split_endpoint
from components.node.flink.cluster import Cluster, FlinkError, Slots
from components.node.flink.job_server import find_java

if TYPE_CHECKING:
    from components.config.beam import Beam

_TIMEOUT = 5.0  # seconds to wait for a connection


def check_flink(beam: Beam) -> str | None:
    """Looks for all that jobs need, so that no node waits for something that is not there.

    Args:
        beam: where Beam runs.

    Returns:
        What was found, in a line for people; None if Beam does not run on Flink.

    Raises:
        FlinkError: something is missing; says what was tried.
    """
    if beam.runner is None or beam.flink_master is None:
        return None
    cluster = Cluster(beam.flink_master)
    slots = cluster.slots()
    _check_slots(slots, beam.parallelism, cluster)
    _check_workers(beam)
    _check_job_server(beam.flink_job_server)
    once = "" if slots.restarts else "; without restart-strategy.type a lost one fails the job"
    return (
        f"Flink {slots.version} at {cluster.page}, {slots.free} of {slots.total} task slots free "
        f"on {slots.machines} TaskManagers{once}"
    )


def _check_slots(slots: Slots, wanted: int, cluster: Cluster) -> None:
    """Raises FlinkError unless a job of so many slots could start now."""
    if slots.grow or slots.free >= wanted:
        return
    found = f"{slots.free} of {slots.total} task slots free at {cluster.page}"
    if slots.total < wanted:
        raise FlinkError(
            f"beam.parallelism: expected at most the cluster's {slots.total} task slots, found "
            f"{wanted}. Start TaskManagers, or lower beam.parallelism."
        )
    raise FlinkError(
        f"beam.parallelism: expected at most the free task slots, found {wanted} and {found}. Wait "
        "for the jobs there, start TaskManagers, or lower beam.parallelism."
    )


def _check_workers(beam: Beam) -> None:
    assert beam.flink_master is not None, "the configuration has checked that"
    host, _ = split_endpoint(beam.flink_master)
    if beam.sdk_workers is not None:
        # Beside TaskManagers elsewhere, which alone reach them, and say so if they do not.
        if _is_here(host) or not _is_here(split_endpoint(beam.sdk_workers)[0]):
            advice = "Start `mastery beam-workers` there, or correct it."
            _check_listens(beam.sdk_workers, "beam.sdk_workers", advice)
        return
    if not _is_here(host):
        raise FlinkError(
            f"beam.sdk_workers: expected host:port of `mastery beam-workers`, found none; the "
            f"TaskManagers of {host} cannot reach a node's process on this machine."
        )


def _check_job_server(server: str | None) -> None:
    if server is None:  # Beam downloads it
        find_java()
    elif is_endpoint(server):
        _check_listens(server, "beam.flink_job_server", "Start Beam's job server, or correct it.")
    elif Path(server).is_file():
        find_java()
    else:
        raise FlinkError(
            f"beam.flink_job_server: there is no file {server}; name the jar of Beam's job server "
            "(docs/flink.md says where it is from), or host:port of one that runs."
        )


def _check_listens(endpoint: str, key: str, advice: str) -> None:
    try:
        socket.create_connection(split_endpoint(endpoint), timeout=_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise FlinkError(f"{key}: nothing listens at {endpoint} ({reason}). {advice}") from None


def _is_here(host: str) -> bool:
    """Returns whether a name or address is this machine's."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
        own = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return False
    return bool(found & own) or any(item.startswith("127.") or item == "::1" for item in found)
