"""The version that answers: found where it was pushed to, checked, and registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from components.contracts.calibration import Calibration
from components.contracts.manifest import Manifest
from components.contracts.model_card import ModelCard
from components.contracts.names import EXPLAIN
from components.contracts.papers import CARD_PAGE
from components.contracts.run_record import REPORT_FILE
from components.errors import MasteryError
from components.model_version.pushed_version import config_of
from components.model_version.verify import verify_version
from serving.answers.tables import ModelVersion
from serving.messages import describe
from serving.models.in_service import open_in_service
from serving.models.stopping import require_in_service
from serving.models.stores import open_storage

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from components.config.root import Config
    from components.contracts.manifest import RecordedDecision

SAVED_MODEL = "saved_model.pb"

# Of TensorFlow's SavedModel (tensorflow/core/protobuf/{saved_model,meta_graph}.proto), only what
# names signatures; other fields are ignored.
_SavedModel = describe(
    "mastery_saved_model.proto",
    "mastery.saved_model",
    {
        "SignatureDef": {"method_name": (3, "string")},
        "MetaGraphDef": {"signature_def": (5, "map SignatureDef")},
        "SavedModel": {"meta_graphs": (2, "repeated MetaGraphDef")},
    },
).classes["SavedModel"]


@dataclass(frozen=True)
class PushedVersion:
    """A version whose files are those that were pushed.

    Attributes:
        folder: on this machine.
        number: its number.
        name: the model's.
        config: the configuration that it was made with.
        manifest: what made it.
        report: the report of its run, if it is beside the serving folder.
    """

    folder: Path
    number: int
    name: str
    config: Config
    manifest: Manifest
    report: Path | None

    @property
    def explains(self) -> bool:
        """Whether it has the signature with reasons, which versions pushed earlier lack."""
        return EXPLAIN in signature_names(self.folder)

    def leaving_out(self, path: str | None) -> PushedVersion:
        """Returns the version with another list of learners who are left out."""
        data = self.config.data.model_copy(update={"left_out": path})
        return replace(self, config=self.config.model_copy(update={"data": data}))


def signature_names(folder: Path) -> set[str]:
    """Returns the names of a SavedModel's signatures, without TensorFlow."""
    model = _SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
    return {name for graph in model.meta_graphs for name in graph.signature_def}


@contextmanager
def newest_version(address: str) -> Iterator[PushedVersion]:
    """Yields the version in a serving folder that is labelled stable, or else the newest.

    Args:
        address: the folder's path or URL; of a URL, a copy is on this machine within the block.

    Raises:
        StoppedError: the model was taken out of service.
        MasteryError: there is none, or it is not what was pushed.
    """
    storage = open_storage(address)
    with open_in_service(storage) as folder:
        yield open_version(folder)


def open_version(folder: Path) -> PushedVersion:
    """Returns the version in a folder.

    Raises:
        StoppedError: the version was taken out of service.
        MasteryError: it is no pushed version, or its files are not those that were pushed.
    """
    config = config_of(folder, name=str(folder))
    verify_version(folder.resolve(), within=folder.resolve().parent)
    manifest = Manifest.read(folder)
    if manifest.version is None or manifest.run is None:
        raise MasteryError(
            f"{folder}: expected a {Manifest.FILE} with the version's number and its run; push the "
            "model again."
        )
    number = manifest.version
    require_in_service(open_storage(str(folder.resolve().parent)), number)
    report = folder.resolve().parent.parent / "runs" / manifest.run / REPORT_FILE
    return PushedVersion(
        folder=folder.resolve(),
        number=number,
        name=manifest.name or config.name,
        config=config,
        manifest=manifest,
        report=report if report.is_file() else None,
    )


def trust_of(version: PushedVersion) -> dict[str, Any]:
    """Returns what pages say of how sure a version is, and of its decisions.

    Returns:
        `coverage`: the share of outcomes whose class is to be in the answered set (`promised`), and
        in how many of the test split it is (`measured`), each None if it is not known; `decisions`:
        `name`, `class`, `threshold`, and `precision` and `recall` on the test split.
    """
    path = version.folder / Calibration.FILE
    fitted = Calibration.read(version.folder) if path.is_file() else None
    promised = fitted.conformal.coverage if fitted is not None and fitted.conformal else None
    measured = (version.manifest.metrics or {}).get("coverage")
    return {
        "coverage": {"promised": promised, "measured": measured},
        "decisions": [_decision(item) for item in version.manifest.decisions],
    }


def _decision(item: RecordedDecision) -> dict[str, Any]:
    measured = item.measured
    return {
        "name": item.name,
        "class": item.class_,
        "threshold": item.threshold,
        "precision": measured and measured.precision,
        "recall": measured and measured.recall,
    }


def _find_card(folder: Path) -> Path:
    """Returns the model card among a version's papers; without papers, what describes the model."""
    page = folder / CARD_PAGE
    return page if page.is_file() else folder / ModelCard.FILE


def register(engine: Engine, version: PushedVersion) -> int:
    """Returns the id of a version in `model_versions`; the first scoring writes its row."""
    manifest = version.manifest
    with Session(engine) as session, session.begin():
        known = select(ModelVersion).where(
            ModelVersion.model == version.name, ModelVersion.version == version.number
        )
        row = session.scalars(known).one_or_none()
        if row is None:
            row = ModelVersion(model=version.name, version=version.number)
            session.add(row)
        row.run = manifest.run
        row.pushed_at = datetime.fromisoformat(manifest.pushed_at) if manifest.pushed_at else None
        row.classes = list(version.config.label.classes)
        row.metrics = dict(manifest.metrics or {})
        row.report = str(version.report) if version.report else row.report
        row.trust = trust_of(version)
        row.card = str(_find_card(version.folder))
        session.flush()
        return row.id
