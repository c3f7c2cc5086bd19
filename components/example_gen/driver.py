"""The driver."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.components.example_gen import driver
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto import example_gen_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types.standard_component_specs import EXAMPLES_KEY, INPUT_CONFIG_KEY
from tfx.utils import proto_utils

from components.contracts.provenance import FINGERPRINT, SPAN, SPANS, VERSION, join_names
from components.event_log.problems import raise_if_any
from components.event_log.sources import Listing, LogFile, find_files
from components.event_log.spans import ChosenSpans, choose_spans

log = logging.getLogger("mastery.example_gen")


class LogDriver(driver.Driver):  # type: ignore[misc]
    """Resolves the patterns of a log to files, and says what is in them.

    TFX's own driver reads one span, and its fingerprint is made of sizes and times of writing: copying a log would
    rerun the pipeline, and an edit within the second would not.
    """

    def run(self, execution_info: ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Returns `input_config` without placeholders, and the custom properties of the examples.

        `spans` comes in as what was asked for and goes out as what it came to, so that asking for the same spans in
        other words finds the same examples in the cache.

        Raises:
            LogError: files or spans are missing.
        """
        asked = execution_info.exec_properties
        input_config = proto_utils.json_to_proto(asked[INPUT_CONFIG_KEY], example_gen_pb2.Input())
        patterns = input_patterns(input_config.splits)
        chosen = choose_spans(
            [pattern for group in patterns.values() for pattern in group], asked[SPANS]
        )
        splits = input_splits(*(chosen.fill(group) for group in patterns.values()))
        found = find_inputs(splits)
        for table, listing in found.items():
            if reasons := listing.describe_passed_over():
                log.info("Not read of %s: %s", table, reasons)
        fingerprint = digest_files((table, listing.files) for table, listing in found.items())
        properties = {
            FINGERPRINT: fingerprint,
            SPANS: join_names(chosen.names),
            SPAN: chosen.spans[-1].number if chosen.spans else 0,
            VERSION: self._find_version(execution_info, chosen, fingerprint),
        }

        result = driver_output_pb2.DriverOutput()
        changed = {
            **properties,
            INPUT_CONFIG_KEY: proto_utils.proto_to_json(example_gen_pb2.Input(splits=splits)),
        }
        for name, value in changed.items():
            if value is not None:
                data_types_utils.set_metadata_value(result.exec_properties[name], value)
        examples = copy.deepcopy(execution_info.output_dict[EXAMPLES_KEY][0].mlmd_artifact)
        driver.update_output_artifact(properties, examples)
        examples.custom_properties[SPANS].string_value = properties[SPANS]
        result.output_artifacts[EXAMPLES_KEY].artifacts.append(examples)
        return result

    def _find_version(
        self, execution_info: ExecutionInfo, chosen: ChosenSpans, fingerprint: str
    ) -> int | None:
        """Returns the version of the spans: the file's where the pattern of one span has it, else one of our counting.

        A log without spans has none.
        """
        if not chosen.spans or (len(chosen.spans) == 1 and chosen.spans[0].version is not None):
            return chosen.spans[0].version if chosen.spans else None
        [node] = [
            spec
            for spec in execution_info.pipeline_node.contexts.contexts
            if spec.type.name == "node"
        ]
        with self._mlmd_connection as handle:
            context = handle.store.get_context_by_type_and_name(
                "node", node.name.field_value.string_value
            )
            artifacts = handle.store.get_artifacts_by_context(context.id) if context else []
        names = join_names(chosen.names)
        known = [
            (_text(item, FINGERPRINT), item.custom_properties[VERSION].int_value)
            for item in artifacts
            if _text(item, SPANS) == names and VERSION in item.custom_properties
        ]
        return next_version(known, fingerprint)


def next_version(known: Iterable[tuple[str, int]], fingerprint: str) -> int:
    """Returns the version of a span's content: the one it has had, else one more than any other content's, from 0.

    Args:
        known: fingerprint and version of every earlier delivery of the span.
        fingerprint: of the delivery at hand.
    """
    versions = list(known)
    same = [version for seen, version in versions if seen == fingerprint]
    return max(same) if same else max((version for _, version in versions), default=-1) + 1


def _text(artifact: metadata_store_pb2.Artifact, name: str) -> str:
    return (
        str(artifact.custom_properties[name].string_value)
        if name in artifact.custom_properties
        else ""
    )


TABLES = ("events", "outcomes")


def input_splits(
    events: Sequence[str], outcomes: Sequence[str]
) -> list[example_gen_pb2.Input.Split]:
    """Returns input splits named `events-1`, `events-2`, ..., `outcomes-1`, ..."""
    return [
        example_gen_pb2.Input.Split(name=f"{table}-{number}", pattern=pattern)
        for table, patterns in zip(TABLES, (events, outcomes), strict=True)
        for number, pattern in enumerate(patterns, start=1)
    ]


def input_patterns(splits: Iterable[example_gen_pb2.Input.Split]) -> dict[str, list[str]]:
    """Returns the patterns behind input splits, by table."""
    patterns: dict[str, list[str]] = {table: [] for table in TABLES}
    for split in splits:
        patterns[split.name.partition("-")[0]].append(split.pattern)
    return patterns


def find_inputs(splits: Iterable[example_gen_pb2.Input.Split]) -> dict[str, Listing]:
    """Finds the files of each table behind input splits without placeholders.

    Raises:
        LogError: files are missing, or cannot be used.
    """
    found = {
        table: find_files(table, patterns) for table, patterns in input_patterns(splits).items()
    }
    raise_if_any(problem for listing in found.values() for problem in listing.problems)
    return found


def digest_files(tables: Iterable[tuple[str, Iterable[LogFile]]]) -> str:
    """Returns a digest of the contents of a log's files, and of what their folders say of them, in their order.

    Args:
        tables: the name of each table and its files.
    """
    digest = hashlib.sha256()
    for table, files in tables:
        for file in files:
            with Path(file.path).open("rb") as content:
                content_digest = hashlib.file_digest(content, "sha256").hexdigest()
            partition = json.dumps(file.partition) if file.partition else ""
            digest.update(f"{table} {file.format} {content_digest}{partition}\n".encode())
    return digest.hexdigest()
