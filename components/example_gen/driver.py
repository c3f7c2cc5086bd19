"""The driver: newest span and version by TFX's rules, and a fingerprint of the files' contents."""

from __future__ import annotations

from collections.abc import Iterable

from tfx.components.example_gen.driver import Driver
from tfx.components.example_gen.input_processor import InputProcessor
from tfx.proto import example_gen_pb2, range_config_pb2

from components.event_log.problems import raise_if_any
from components.event_log.spans import find_newest
from components.example_gen.digest import digest_files
from components.example_gen.inputs import find_inputs


class LogInputProcessor(InputProcessor):  # type: ignore[misc]
    """Resolves the patterns of a log.

    TFX's own fingerprint is made of sizes and times of writing: copying a log would rerun the pipeline,
    and an edit within the second would not.
    """

    def resolve_span_and_version(self) -> tuple[int, int | None]:
        """Returns the newest span and version.

        Raises:
            LogError: a pattern has no match, or the tables' newest spans differ.
        """
        newest = find_newest([split.pattern for split in self._splits])
        return newest.span, newest.version

    def get_latest_span(self) -> int:
        """Returns the newest span."""
        return self.resolve_span_and_version()[0]

    def get_pattern_for_span_version(self, pattern: str, span: int, version: int | None) -> str:
        """Returns a pattern with its placeholders filled."""
        del span, version  # the newest is the only one that is ever asked for
        return find_newest([pattern]).patterns[pattern]

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Returns a digest of the contents of all files.

        Raises:
            LogError: files are missing.
        """
        splits = [
            example_gen_pb2.Input.Split(
                name=split.name, pattern=self.get_pattern_for_span_version(split.pattern, span, version)
            )
            for split in self._splits
        ]
        files, problems = find_inputs(splits)
        raise_if_any(problems)
        return digest_files(files.items())


class LogDriver(Driver):  # type: ignore[misc]
    """TFX's driver for ExampleGen, with our way of finding files."""

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> LogInputProcessor:
        """Returns what resolves the patterns."""
        del input_base_uri  # patterns are absolute
        return LogInputProcessor(splits, range_config)
