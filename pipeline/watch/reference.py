"""Finds the data that a version was made with: the Examples of its run, in ML Metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.manifest import Manifest
from components.contracts.names import SPLITS, TRAIN
from components.contracts.provenance import DataProvenance
from components.errors import MasteryError
from components.node.node_id import Node
from pipeline.layout import Layout
from pipeline.store.lookups import StoredArtifact, open_history

if TYPE_CHECKING:
    from components.config import Config


@dataclass(frozen=True)
class ReferenceData:
    """The examples that a version was made with.

    Attributes:
        run: the run that made it.
        folder: of the examples, with a folder per split.
        data: which spans they are of.
    """

    run: str
    folder: Path
    data: DataProvenance

    def split(self, name: str) -> Path:
        """Returns the folder of a split."""
        return self.folder / f"Split-{name}"

    @property
    def splits(self) -> list[Path]:
        """The folders of all splits that there are."""
        return [self.split(name) for name in SPLITS if self.split(name).is_dir()]


def find_reference(config: Config, manifest: Manifest, root: Path) -> ReferenceData:
    """Returns the data that a version was made with.

    Args:
        config: names the pipeline and the metadata store.
        manifest: of the version.
        root: where its run keeps everything.

    Raises:
        MasteryError: the run is not known below this root, or its examples are not there any more.
        MetadataError: the metadata store cannot be used.
    """
    run = manifest.run
    if run is None:
        raise MasteryError(
            f"version {manifest.version}: expected a {Manifest.FILE} that names its run, found "
            "none. Push the model again."
        )

    artifact = _find_examples(config, run, root)
    folder = Path(artifact.uri)
    reference = ReferenceData(run, folder, DataProvenance.of(artifact.properties))
    if not reference.split(TRAIN).is_dir():
        raise MasteryError(
            f"version {manifest.version}: expected the examples of its run {run} in {folder}, "
            "found none: they were removed. Drift can be measured again from the next run on."
        )
    return reference


def _find_examples(config: Config, run: str, root: Path) -> StoredArtifact:
    layout = Layout(root.resolve(), config.name)
    expected = f"expected the run {run} below --root {root}, which made the version in service"
    if config.metadata.store == "sqlite" and not layout.metadata.is_file():
        raise MasteryError(f"{expected}, found no {layout.metadata.name} there.")

    with open_history(config.metadata, layout) as history:
        execution = history.latest_executions(run).get(Node.EXAMPLE_GEN)
        found = [] if execution is None else history.result_of(execution).outputs.get("examples")
    if not found:
        raise MasteryError(
            f"{expected}, found none of its examples in the metadata. Give the --root that the "
            "version was pushed from."
        )
    return found[0]
