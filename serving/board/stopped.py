"""Whether a model whose answers are shown was taken out of service: a notice on every page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from components.errors import MasteryError
from serving.answers.tables import ModelVersion
from serving.models.stopping import read_stop
from serving.models.stores import open_storage

if TYPE_CHECKING:
    from serving.models.storage import Storage

SECONDS = 5.0  # for which what was found is shown again: a page need not read files each time


@dataclass(frozen=True)
class StoppedModel:
    """A model that was stopped.

    Attributes:
        model: its name.
        version: the version that was stopped; None for every one.
        who: user and machine.
        moment: when.
        reason: why.
    """

    model: str
    version: int | None
    who: str
    moment: datetime
    reason: str


class StoppedModels:
    """The models that are out of service, by the files beside the versions that scored last.

    A board that does not reach the serving folder shows no notice: scoring refuses all the same.

    Args:
        engine: the answers' database, which knows where versions are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._until = 0.0
        self._found: list[StoppedModel] = []

    def find(self) -> list[StoppedModel]:
        """Returns the models that are stopped, as of a few seconds ago at most."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = self._read()
                self._until = time.monotonic() + SECONDS
            return self._found

    def _read(self) -> list[StoppedModel]:
        newest = select(func.max(ModelVersion.id)).group_by(ModelVersion.model)
        try:
            with Session(self._engine) as session:
                versions = session.execute(
                    select(ModelVersion.model, ModelVersion.version, ModelVersion.card).where(
                        ModelVersion.id.in_(newest)
                    )
                ).all()
        except SQLAlchemyError:  # the page itself says what is wrong
            return []

        found = []
        for model, version, card in versions:
            storage = storage_of(card)
            stop = None if storage is None else read_stop(storage, version)
            if stop is not None:
                moment = datetime.fromisoformat(stop.time)
                found.append(StoppedModel(model, stop.version, stop.who, moment, stop.reason))
        return found


def storage_of(card: str | None) -> Storage | None:
    """Returns the serving folder that a version's card is in, if it is on this machine.

    Args:
        card: the path of a file in a folder of the version, as scoring recorded it.
    """
    parents = [*Path(card or "").parents]
    if not Path(card or "").is_absolute() or len(parents) < 3:
        return None
    folder = parents[2]
    try:
        return open_storage(str(folder)) if folder.is_dir() else None
    except (MasteryError, OSError):
        return None
