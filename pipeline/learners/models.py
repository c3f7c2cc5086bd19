"""Which pushed versions were trained with a learner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.contract import ContractError
from components.contracts.manifest import Manifest
from components.contracts.provenance import DataProvenance
from components.errors import MasteryError
from components.model_version.folders import find_versions
from pipeline.learners.traces import Trace, trained_examples
from pipeline.store.connection import connect_to_store, connection_config, explained

if TYPE_CHECKING:
    from components.config import Config
    from pipeline.layout import Layout


def models_trained_with(traces: list[Trace], config: Config, layout: Layout) -> list[Path]:
    """Returns the pushed versions that were made from examples of a learner.

    A version's manifest records the fingerprint of its data, and the metadata store that of each
    folder of examples.

    Args:
        traces: of the learner.
        config: says where versions and metadata are.
        layout: the root of the runs.

    Raises:
        MetadataError: the store cannot be used.
    """
    folders = trained_examples(traces)
    if not folders:
        return []

    connection = connection_config(config.metadata, layout)
    store = connect_to_store(connection)
    fingerprints = set()
    with explained(connection):
        for folder in folders:
            for artifact in store.get_artifacts_by_uri(str(folder)):
                held = artifact.custom_properties
                values = {
                    name: getattr(item, item.WhichOneof("value")) for name, item in held.items()
                }
                fingerprints.add(DataProvenance.of(values).fingerprint)

    try:
        versions = find_versions(layout.serving(config)).paths.values()
    except (OSError, MasteryError):
        return []
    return [path for path in versions if _fingerprint(path) in fingerprints - {None}]


def _fingerprint(version: Path) -> str | None:
    try:
        data = Manifest.read(version).data
    except ContractError:
        return None
    return data.fingerprint if data else None
