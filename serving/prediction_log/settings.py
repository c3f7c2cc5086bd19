"""Settings of the prediction log: where it is kept, which rows it takes, and for how long."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from components.command.escape import hide_userinfo
from components.errors import MasteryError

HEADER = "x-prediction-log"
LOG_HEADERS = {HEADER: "logged"}  # of an answer whose rows are in the log
SPOOL = ".spool"  # in the log's folder
KEPT_DAYS = 365
FILE_MODE, FOLDER_MODE = 0o640, 0o750


@dataclass(frozen=True, kw_only=True)
class PredictionLogSettings:
    """The prediction log of one server.

    Attributes:
        target: a folder for Parquet files, or the address of the answers' database.
        sample: share of the rows, 0 to 1.
        days: how many days rows are kept.
        spool: folder for rows that are not in the database yet; by default, in the user's folder
            for state. A folder has its spool inside.
    """

    target: str
    sample: float = 1.0
    days: int = KEPT_DAYS
    spool: Path | None = None

    @property
    def spool_folder(self) -> Path:
        """The folder for rows that are not in the target yet."""
        return self.spool or default_spool(self.target)


def is_database(target: str) -> bool:
    """Returns whether a log is in a database; otherwise it is in a folder."""
    return "://" in target


def default_spool(target: str) -> Path:
    """Returns where a server keeps what it has not moved to its target, unless told otherwise."""
    if not is_database(target):
        return Path(target) / SPOOL
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "mastery" / "prediction-log" / sha256(target.encode()).hexdigest()[:16]


def check_prediction_log(settings: PredictionLogSettings) -> None:
    """Checks the settings before anything is loaded.

    Raises:
        MasteryError: a value cannot be used.
    """
    if not 0 < settings.sample <= 1:
        raise MasteryError(
            "--prediction-log-sample: expected a share above 0 and at most 1, found "
            f"{settings.sample:g}."
        )
    if settings.days < 1:
        raise MasteryError(
            f"--prediction-log-days: expected one day or more, found {settings.days}."
        )
    if settings.spool is not None and not is_database(settings.target):
        raise MasteryError(
            "--prediction-log-spool: expected a database as --prediction-log; a folder has its "
            "spool inside."
        )
    if is_database(settings.target):
        from serving.answers.database import database_address

        database_address(settings.target)
    elif Path(settings.target).exists() and not Path(settings.target).is_dir():
        raise MasteryError(
            f"--prediction-log: expected a folder or a database's address, found the file "
            f"{hide_userinfo(settings.target)}."
        )


def make_folder(path: Path) -> None:
    """Makes a folder that only its owner and group can read, and its parents."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        folder.chmod(FOLDER_MODE)
