"""The steps before the first node, without TFX: checks, the root's lock, cleaning up dead runs."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.command.suggest import did_you_mean
from components.errors import ConfigError, MasteryError
from components.files.atomic import open_regular, write_bytes
from components.node.node_id import Node
from pipeline.layout import Layout, read_schema_text

if TYPE_CHECKING:
    from ml_metadata import MetadataStore
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.config import Config
    from components.config.beam import Beam


def nodes_of(config: Config) -> list[Node]:
    """Returns the nodes of a configuration in the order of the DAG."""
    absent = set() if config.training.warm_start else {Node.WARM_START_RESOLVER}
    return [node for node in Node if node not in absent]


def find_node(config: Config, option: str, name: str | None) -> Node | None:
    """Returns the node that an option names.

    Args:
        config: what to run.
        option: `--from` or `--to`, for the error.
        name: the option's value; None if it is not given.

    Raises:
        MasteryError: the configuration has no such node.
    """
    if name is None:
        return None
    known = nodes_of(config)
    if name not in known:
        suggestion = did_you_mean(name, known) or "."
        raise MasteryError(f"{option} {name}: expected one of {', '.join(known)}{suggestion}")
    return Node(name)


def check_range(config: Config, first: Node | None, last: Node | None) -> None:
    """Makes sure that a run has nodes between the first to execute anew and the last to run.

    Raises:
        MasteryError: `first` comes after `last`.
    """
    order = nodes_of(config)
    if first and last and order.index(first) > order.index(last):
        raise MasteryError(f"--from {first} comes after --to {last}; nothing would run.")


@contextmanager
def lock_root(root: Path) -> Iterator[None]:
    """Allows one run at a time in a root: two would block each other in the metadata store.

    Raises:
        MasteryError: another run is using the root, it cannot be written, or its lock is a link.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = open_regular(root / ".lock")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MasteryError(f"--root {root}: expected a writable folder ({reason}).") from None

    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MasteryError(
                f"--root {root}: another run is using it. Wait for it, or give another --root."
            ) from None
        yield


def find_log(config: Config) -> None:
    """Looks for the files of the log, so that a wrong path is an error before TFX is loaded.

    Raises:
        LogError: files are missing, or there is no such span.
    """
    from components.event_log.deliveries import find_tables
    from components.event_log.problems import raise_if_any
    from components.event_log.spans import choose_spans

    chosen = choose_spans(
        [*config.data.events, *config.data.outcome_files],
        config.data.span,
        with_older=config.data.replay > 0,
    )
    for listing in find_tables(config, chosen).values():
        raise_if_any(listing.problems)


def check_signing_key(config: Config) -> None:
    """Reads the key that the version will be signed with, so that no model is trained in vain.

    Raises:
        KeyFileError: the key or its password cannot be used.
    """
    key = config.push.key_for_signing(os.environ)
    if key and config.push.enabled:
        # Its library takes a twentieth of a second to import.
        from components.model_version.signing_keys import check_key

        check_key(Path(key), os.environ)


def read_schema(path: Path) -> schema_pb2.Schema:
    """Reads a schema from text.

    Raises:
        ConfigError: there is no such file, or it does not parse; the text names line and column.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except OSError as error:
        raise ConfigError(f"schema: {path} could not be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        expected = "expected a TFDV schema as text"
        raise ConfigError(f"{path}: {expected}, found bytes that are not UTF-8.") from None
    except text_format.ParseError as error:
        expected = "expected a TFDV schema as text"
        raise ConfigError(f"{path}: {expected}; line:column and problem: {error}") from None


def snapshot_schema(config: Config, layout: Layout) -> None:
    """Copies the configured schema to the path that the plan of the run names.

    Raises:
        ConfigError: the configured schema cannot be read, or is not a schema.
    """
    text = read_schema_text(config)
    snapshot = layout.schema_snapshot(config)
    read_schema(Path(config.schema_))
    if not snapshot.exists():
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(snapshot, text)


def cancel_jobs(beam: Beam, run: str, node: Node | None = None) -> None:
    """Cancels what nodes of a run left on a Flink cluster, so that nothing writes any more.

    Args:
        beam: where Beam runs.
        run: whose nodes have ended.
        node: only this one; default: all.
    """
    if beam.flink_master is not None:
        from components.node.flink.cluster import Cluster, FlinkError

        try:
            Cluster(beam.flink_master).cancel(f"-{node}-{run}" if node else f"-{run}")
        except FlinkError as error:  # without a JobManager no job goes on
            logging.getLogger(__name__).warning("jobs of run %s may still be there: %s", run, error)


def cancel_unfinished(store: MetadataStore, layout: Layout, run_id: str) -> list[str]:
    """Marks what a dead run left unfinished as cancelled, and removes its half-written outputs.

    Args:
        store: the metadata store, which may be shared with other pipelines and runs.
        layout: of the run's pipeline.
        run_id: the run that is dead.

    Returns:
        The ids of the nodes that were unfinished.

    Raises:
        UnsafePathError: the store names a node whose folder would be outside the root.
    """
    from ml_metadata.proto.metadata_store_pb2 import Execution

    from components.files.safe_paths import path_below
    from pipeline.store.lookups import RunHistory

    history = RunHistory(store, layout.store_name)
    cancelled = []
    for execution in history.unfinished_executions(run_id):
        execution.last_known_state = Execution.CANCELED
        store.put_executions([execution])
        node = history.node_of(execution)
        _remove_outputs(path_below(layout.nodes, node), execution.id)
        cancelled.append(node)
    return cancelled


def _remove_outputs(node: Path, execution_id: int) -> None:
    # TFX writes to <node>/<output>/<execution> and <node>/.system/<kind>/<execution>.
    for folder in (*node.glob(f"*/{execution_id}"), *node.glob(f".system/*/{execution_id}")):
        shutil.rmtree(folder, ignore_errors=True)
