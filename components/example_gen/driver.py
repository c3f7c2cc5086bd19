"""Finds the files of a log for ExampleGen: spans, fingerprint and version of what will be read."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable.base_driver import BaseDriver
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto import example_gen_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.utils import proto_utils

from components.contracts.names import OLDER
from components.contracts.provenance import (
    FINGERPRINT,
    REPLAY,
    REPLAYED,
    SPAN,
    SPANS,
    VERSION,
    DataProvenance,
)
from components.event_log.fingerprint import fingerprint_of
from components.event_log.log_spec import LogSpec
from components.event_log.problems import raise_if_any
from components.event_log.sources import Listing, find_files
from components.event_log.spans import ChosenSpans, choose_spans

TABLES = ("events", "outcomes")
REPLAYED_TABLES = tuple(f"{OLDER}{table}" for table in TABLES)  # of older spans

# TFX's own names; the module that has them imports TFMA.
INPUT_CONFIG_KEY = "input_config"
EXAMPLES_KEY = "examples"

log = logging.getLogger("mastery.example_gen")


class LogDriver(BaseDriver, base_driver.BaseDriver):  # type: ignore[misc]
    """Resolves the patterns of a log to files, and computes the fingerprint of their contents.

    The launcher runs it as the first base class; the definition of a node demands the second.

    TFX's own driver reads one span only, and its fingerprint is made of sizes and times of writing:
    copying a log would run the pipeline again, and an edit within the second would not.
    """

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Returns `input_config` without placeholders, and the custom properties of the examples.

        The property `spans` comes in as configured and goes out as the names of the chosen spans,
        so that the same spans in other words find the same examples in the cache.

        Raises:
            LogError: files or spans are missing.
        """
        properties = execution_info.exec_properties
        config = proto_utils.json_to_proto(properties[INPUT_CONFIG_KEY], example_gen_pb2.Input())
        patterns = input_patterns(config.splits)
        every = [pattern for group in patterns.values() for pattern in group]
        spec = LogSpec.from_property(properties["config"])
        chosen = choose_spans(every, properties[SPANS], with_older=spec.replay > 0)

        splits = input_splits(*(chosen.fill(group) for group in patterns.values()))
        if chosen.older:
            older = (chosen.older.fill(group) for group in patterns.values())
            splits += input_splits(*older, tables=REPLAYED_TABLES)
        found = find_inputs(splits, spec)
        for table, listing in found.items():
            if reasons := listing.describe_passed_over():
                log.info("Not read of %s: %s", table, reasons)

        data = DataProvenance(
            fingerprint=fingerprint_of(found, spec),
            span=chosen.spans[-1].number if chosen.spans else 0,
            spans=chosen.names,
            replayed=chosen.older.names if chosen.older else [],
            replay=spec.replay if chosen.older else None,
        )
        data.version = self._find_version(execution_info, chosen, data)
        return _output(execution_info, splits, data)

    def _find_version(
        self, execution_info: ExecutionInfo, chosen: ChosenSpans, read: DataProvenance
    ) -> int | None:
        """Returns the version of the spans, None for a log without spans.

        It is the version in the file names if the pattern of a single span has one. Otherwise
        versions are counted here.
        """
        if not chosen.spans:
            return None
        if len(chosen.spans) == 1 and chosen.spans[0].version is not None:
            return chosen.spans[0].version

        contexts = execution_info.pipeline_node.contexts.contexts
        [node] = [context for context in contexts if context.type.name == "node"]
        name = node.name.field_value.string_value
        with self._mlmd_connection as handle:
            context = handle.store.get_context_by_type_and_name("node", name)
            artifacts = handle.store.get_artifacts_by_context(context.id) if context else []
        deliveries = [DataProvenance.of(_custom_properties(artifact)) for artifact in artifacts]
        known = [
            (data.fingerprint, data.version)
            for data in deliveries
            if (data.spans, data.replayed, data.replay) == (read.spans, read.replayed, read.replay)
            and data.fingerprint
            and data.version is not None
        ]
        return next_version(known, str(read.fingerprint))


def _output(
    execution_info: ExecutionInfo,
    splits: list[example_gen_pb2.Input.Split],
    data: DataProvenance,
) -> driver_output_pb2.DriverOutput:
    result = driver_output_pb2.DriverOutput()
    properties = data.to_properties()
    config = proto_utils.proto_to_json(example_gen_pb2.Input(splits=splits))
    for name, value in {**properties, INPUT_CONFIG_KEY: config}.items():
        if value is not None:
            data_types_utils.set_metadata_value(result.exec_properties[name], value)

    examples = copy.deepcopy(execution_info.output_dict[EXAMPLES_KEY][0].mlmd_artifact)
    for name in (FINGERPRINT, SPAN, SPANS, VERSION, REPLAYED, REPLAY):
        if properties[name] is not None:
            data_types_utils.set_metadata_value(examples.custom_properties[name], properties[name])
    result.output_artifacts[EXAMPLES_KEY].artifacts.append(examples)
    return result


def _custom_properties(artifact: metadata_store_pb2.Artifact) -> dict[str, str | int | float]:
    held = artifact.custom_properties
    names = [name for name in (FINGERPRINT, SPANS, VERSION, REPLAYED, REPLAY) if name in held]
    return {name: getattr(held[name], held[name].WhichOneof("value")) for name in names}


def next_version(known: Iterable[tuple[str, int]], fingerprint: str) -> int:
    """Returns the version of a span's content: its earlier one, else the next number, from 0.

    >>> next_version([("aa", 0), ("bb", 1)], "aa"), next_version([("aa", 0), ("bb", 1)], "cc")
    (0, 2)

    Args:
        known: fingerprint and version of every earlier delivery of the span.
        fingerprint: of the current delivery.
    """
    versions = list(known)
    same = [version for seen, version in versions if seen == fingerprint]
    if same:
        return max(same)
    return max((version for _, version in versions), default=-1) + 1


def input_splits(
    events: Sequence[str], outcomes: Sequence[str], *, tables: Sequence[str] = TABLES
) -> list[example_gen_pb2.Input.Split]:
    """Returns TFX's input configuration of a log: one split per pattern.

    They are named `events-1`, `events-2`, ..., `outcomes-1`, ..., or by the other names of the
    tables.
    """
    return [
        example_gen_pb2.Input.Split(name=f"{table}-{number}", pattern=pattern)
        for table, patterns in zip(tables, (events, outcomes), strict=True)
        for number, pattern in enumerate(patterns, start=1)
    ]


def input_patterns(splits: Iterable[example_gen_pb2.Input.Split]) -> dict[str, list[str]]:
    """Returns the patterns behind input splits, by table."""
    patterns: dict[str, list[str]] = {table: [] for table in TABLES}
    for split in splits:
        patterns.setdefault(split.name.partition("-")[0], []).append(split.pattern)
    return patterns


def find_inputs(splits: Iterable[example_gen_pb2.Input.Split], spec: LogSpec) -> dict[str, Listing]:
    """Finds the files of each table behind input splits without placeholders.

    Raises:
        LogError: files are missing, or cannot be used.
    """
    patterns = input_patterns(splits)
    mappings = dict.fromkeys((TABLES[0], REPLAYED_TABLES[0]), spec.mapping)
    found = {
        table: find_files(table.removeprefix(OLDER), group, mappings.get(table))
        for table, group in patterns.items()
    }
    raise_if_any(problem for listing in found.values() for problem in listing.problems)
    return found
