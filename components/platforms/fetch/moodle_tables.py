"""Moodle's tables: which of their columns are read, and what is joined to them.

The names are those of Moodle 4 (`lib/db/install.xml` and those of its plugins). A joined column is
called after its table: `quiz_course`. Columns that say who somebody is (names, addresses, `ip`)
are not among them, nor free text that people wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from components.config.fetch import MoodleTable

Types = dict[str, type[pl.DataType]]


def _types(integers: str = "", numbers: str = "", texts: str = "") -> Types:
    kinds: tuple[tuple[str, type[pl.DataType]], ...] = (
        (integers, pl.Int64), (numbers, pl.Float64), (texts, pl.String),
    )  # fmt: skip
    return {name: dtype for names, dtype in kinds for name in names.split()}


@dataclass(frozen=True)
class Join:
    """Columns of another table, of the row whose id a column holds.

    Attributes:
        table: its name, without the prefix.
        key: the column with the id; `course_modules.module` for one of a table joined before.
        columns: what is read of it.
    """

    table: str
    key: str
    columns: Types


@dataclass(frozen=True)
class FetchedTable:
    """A table of Moodle.

    Attributes:
        name: without the prefix.
        columns: what is read of it; `id` is its key.
        time: the column with the time of a row's last change, in seconds since 1970.
        joins: what is read of other tables with it.
        only_in_courses: columns that are read only of rows that belong to a course.
        grows: whether rows are only added, never changed.
    """

    name: MoodleTable
    columns: Types
    time: str = "timemodified"
    joins: tuple[Join, ...] = ()
    only_in_courses: tuple[str, ...] = ()
    grows: bool = False

    @property
    def types(self) -> Types:
        """All columns of a fetched row, in their order."""
        joined = {
            f"{join.table}_{name}": dtype
            for join in self.joins
            for name, dtype in join.columns.items()
        }
        return {**self.columns, **joined}


_LOG = FetchedTable(
    "logstore_standard_log",
    _types(
        "id timecreated userid relateduserid realuserid courseid contextid contextlevel "
        "contextinstanceid objectid edulevel anonymous",
        texts="eventname component action target objecttable crud origin other",
    ),
    time="timecreated",
    # Outside of courses, as at the login, it holds names of users.
    only_in_courses=("other",),
    grows=True,
)
_QUIZ_ATTEMPTS = FetchedTable(
    "quiz_attempts",
    _types(
        "id quiz userid attempt uniqueid preview timestart timefinish timemodified",
        "sumgrades", "state",
    ),
    joins=(Join("quiz", "quiz", _types("course", "sumgrades grade")),),
)  # fmt: skip
_GRADES = FetchedTable(
    "grade_grades",
    _types(
        "id itemid userid usermodified hidden locked overridden excluded timecreated timemodified",
        "rawgrade rawgrademax rawgrademin finalgrade",
    ),
    joins=(
        Join(
            "grade_items",
            "itemid",
            _types(
                "courseid iteminstance itemnumber gradetype", "grademax grademin gradepass",
                "itemtype itemmodule",
            ),
        ),
    ),
)  # fmt: skip
_COMPLETION = FetchedTable(
    "course_modules_completion",
    _types("id coursemoduleid userid completionstate overrideby timemodified"),
    joins=(
        Join("course_modules", "coursemoduleid", _types("course module instance")),
        Join("modules", "course_modules.module", _types(texts="name")),
    ),
)
_H5P_ATTEMPTS = FetchedTable(
    "h5pactivity_attempts",
    _types(
        "id h5pactivityid userid attempt rawscore maxscore duration completion success "
        "timecreated timemodified",
        "scaled",
    ),
    joins=(Join("h5pactivity", "h5pactivityid", _types("course")),),
)
TABLES = {
    table.name: table for table in (_LOG, _QUIZ_ATTEMPTS, _GRADES, _COMPLETION, _H5P_ATTEMPTS)
}
