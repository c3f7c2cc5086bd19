"""Where events are fetched from: the database of a Moodle, or a record store with xAPI."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.config.section import Address, KeyedError, Section, Variable

MoodleTable = Literal[
    "logstore_standard_log",
    "quiz_attempts",
    "grade_grades",
    "course_modules_completion",
    "h5pactivity_attempts",
]
MOODLE_TABLES: tuple[MoodleTable, ...] = (
    "logstore_standard_log",
    "quiz_attempts",
    "grade_grades",
    "course_modules_completion",
    "h5pactivity_attempts",
)
DAY = "{YYYY}-{MM}-{DD}"  # the folder of a day, as a placeholder of `data.events`

_FILE = re.compile(r"\.(parquet|pq|csv|jsonl?|ndjson|gz)$", re.IGNORECASE)
_ESCAPED = re.compile(r"\[([*?[])\]")  # a special character after glob.escape


class Fetch(Section):
    """Where `events` is fetched from before it is read: what is new since the last time.

    One of `database_env`, `statements` and `statements_env` is given. Nothing is ever written
    there. The first item of `events` is the folder that files are written into.
    """

    database_env: Variable | None = Field(
        None,
        description="variable with the SQLAlchemy URL of Moodle's database: "
        "`mysql://user:password@host/moodle`, `mariadb://` or `postgresql://`",
    )
    prefix: str = Field("mdl_", description="what the names of Moodle's tables begin with")
    tables: list[MoodleTable] = Field(
        [*MOODLE_TABLES],
        min_length=1,
        description="which tables of Moodle are fetched; those that it does not have are passed "
        "over, except the log",
    )
    statements: Address | None = Field(
        None, description="address of a record store's xAPI, such as `https://lrs.example.org/xapi`"
    )
    statements_env: Variable | None = Field(
        None, description="variable with that address, instead of `statements`"
    )
    user_env: Variable | None = Field(
        None, description="variable with the user name (or key) for the record store"
    )
    password_env: Variable | None = Field(
        None, description="variable with the password (or secret) for the record store"
    )
    version: Literal["1.0.3", "2.0.0"] = Field(
        "1.0.3", description="version of xAPI that is asked for"
    )
    ordered_by: Literal["stored", "timestamp"] = Field(
        "stored",
        description="the time by which the record store orders statements; xAPI says `stored`, "
        "Ralph takes `timestamp`",
    )
    since: str | None = Field(
        None, description="date; what is older is not fetched, default: everything"
    )
    overlap_seconds: float = Field(
        3600,
        ge=0,
        le=31 * 86400,
        description="how far back each fetch looks again: a row must be visible this long after "
        "its own time",
    )
    timeout_seconds: float = Field(
        60, gt=0, le=3600, description="how long one query or request may take"
    )
    limit: int = Field(
        500, ge=1, le=100_000, description="statements that one request asks the record store for"
    )

    @field_validator("prefix")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_]*", value):
            raise ValueError(f"expected letters, digits and _, such as mdl_, found {value!r}")
        return value

    @field_validator("since", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> object:
        if value is None:
            return None
        try:
            return date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError(f"expected a date such as 2026-09-01, found {value!r}") from None

    @field_validator("statements")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        return None if value is None else check_endpoint(value)

    @model_validator(mode="after")
    def _one_origin(self) -> Fetch:
        given = [
            name
            for name in ("database_env", "statements", "statements_env")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "expected one of database_env, statements and statements_env, found "
                f"{' and '.join(given) or 'none'}"
            )
        if (self.user_env is None) != (self.password_env is None):
            key = "password_env" if self.password_env is None else "user_env"
            raise KeyedError(key, "expected user_env and password_env together, found one of them")
        return self


@dataclass(frozen=True)
class FetchFolder:
    """Where fetched files are written.

    Attributes:
        path: the folder.
        by_day: whether it has a folder for each day, `2026-11-27`.
    """

    path: Path
    by_day: bool


def fetch_folder(pattern: str) -> FetchFolder:
    """Returns the folder that an item of `data.events` stands for.

    >>> fetch_folder("/logs/moodle/{YYYY}-{MM}-{DD}")
    FetchFolder(path=PosixPath('/logs/moodle'), by_day=True)

    Raises:
        ValueError: it is a file, or another pattern.
    """
    folder, name = Path(pattern).parent, Path(pattern).name
    by_day = name == DAY
    if by_day:  # what comes before the placeholders is escaped
        plain = _ESCAPED.sub(r"\1", str(folder))
        is_pattern = glob.has_magic(_ESCAPED.sub("", str(folder)))
    else:
        plain = pattern
        is_pattern = "*" in pattern or "?" in pattern
    if is_pattern or "{" in plain or "://" in plain or _FILE.search(name):
        raise ValueError(
            "expected a folder first, such as ../data/moodle or, with a folder for each day, "
            f"../data/moodle/{DAY}: data.fetch writes into it; found {pattern}"
        )
    return FetchFolder(Path(plain), by_day)


def check_endpoint(address: str) -> str:
    """Returns the address of a record store without a slash at its end.

    Raises:
        ValueError: it is no address of HTTP. The text does not repeat it.
    """
    match = re.fullmatch(r"(https?)://([^/?#\s@]+)(/[^?#\s]*)?", address)
    if match is None:
        raise ValueError(
            "expected an address such as https://lrs.example.org/xapi, without user name, "
            "password and query"
        )
    return address.rstrip("/").removesuffix("/statements")
