"""TFX's launcher where an object store, and not a disk, keeps artifacts between nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfx.components.evaluator.constants import ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
from tfx.orchestration.portable import data_types, launcher
from tfx.proto.orchestration import execution_result_pb2

from components.model_version.folders import version_names
from pipeline.run.mirror import Mirror

SCHEMA_FILE = "schema_file"  # of ImportSchemaGen: the snapshot of the curated schema
DIRECTORY = "directory"  # of Pusher: the folder that TensorFlow Serving watches


class MirroredLauncher(launcher.Launcher):  # type: ignore[misc]
    """Pulls what an executor reads right before it runs, and pushes what it wrote before it counts as done.

    A node that comes from the cache moves nothing: the store is only asked what it has.
    """

    def __init__(self, mirror: Mirror, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._mirror = mirror

    def _run_executor(
        self, execution_info: data_types.ExecutionInfo
    ) -> execution_result_pb2.ExecutorOutput:
        # The launcher publishes a node as failed when this raises, so one whose outputs are not in the store is.
        self._mirror.pull(self._covered(_read_by(execution_info)))
        watched = [*self._covered(_property_path(execution_info, DIRECTORY))]
        for folder in watched:
            self._mirror.outline_versions(folder)
        before = {folder: set(version_names(folder)) for folder in watched}
        output = super()._run_executor(execution_info)
        self._mirror.push(self._covered(_uris(execution_info.output_dict)))
        for folder in watched:  # last: once a version is there it is served, whatever fails after
            for version in sorted(set(version_names(folder)) - before[folder]):
                self._mirror.push_version(folder / str(version))
        return output

    def _covered(self, paths: Iterable[Path]) -> Iterator[Path]:
        return (path for path in paths if self._mirror.covers(path))


def _read_by(execution_info: data_types.ExecutionInfo) -> Iterator[Path]:
    """Yields what an executor opens: its inputs, a file that a property names, and a model that a blessing names."""
    yield from _uris(execution_info.input_dict)
    yield from _property_path(execution_info, SCHEMA_FILE)
    for artifacts in execution_info.input_dict.values():
        for artifact in artifacts:
            if model := artifact.get_string_custom_property(
                ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY
            ):
                yield Path(model)


def _property_path(execution_info: data_types.ExecutionInfo, name: str) -> Iterator[Path]:
    if path := execution_info.exec_properties.get(name):
        yield Path(path)


def _uris(artifacts: dict[str, list[Any]]) -> Iterator[Path]:
    for group in artifacts.values():
        yield from (Path(artifact.uri) for artifact in group)
