"""Moodle's tables: which of their columns are read, and what is joined to them.

The names are those of Moodle 4 (`lib/db/install.xml` and those of its plugins); joined columns have
the names that the mapping of the format `moodle` reads. Columns that say who somebody is (names,
addresses, `ip`) are not among them, nor free text that people wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """The row of another table that belongs to a row.

    Attributes:
        table: its name, without the prefix.
        on: by column of it, what it is equal to: a column of the table, `quiz_attempts.quiz`, or of
            one that was joined before; or a text in quotes.
        columns: by name of a column of the result, the column of the table and its type.
    """

    table: str
    on: dict[str, str]
    columns: dict[str, tuple[str, type[pl.DataType]]] = field(default_factory=dict)


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
        joined = {name: dtype for join in self.joins for name, (_, dtype) in join.columns.items()}
        return {**self.columns, **joined}


def _module(instance: str, name: str) -> tuple[Join, Join]:
    """Returns the joins that find the course module of an activity.

    Args:
        instance: the column with the activity's id in the table of its kind.
        name: the kind, a text in quotes or a column.
    """
    return (
        Join("modules", {"name": name}),
        Join(
            "course_modules",
            {"module": "modules.id", "instance": instance},
            {"cmid": ("id", pl.Int64)},
        ),
    )


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
        "sumgrades",
        "state",
    ),
    joins=(
        Join(
            "quiz",
            {"id": "quiz_attempts.quiz"},
            {
                "courseid": ("course", pl.Int64),
                "quizsumgrades": ("sumgrades", pl.Float64),
                "quizgrade": ("grade", pl.Float64),
            },
        ),
        *_module("quiz_attempts.quiz", "'quiz'"),
    ),
)
_GRADES = FetchedTable(
    "grade_grades",
    _types(
        "id itemid userid usermodified hidden locked overridden excluded timecreated timemodified",
        "rawgrade rawgrademax rawgrademin finalgrade",
    ),
    joins=(
        Join(
            "grade_items",
            {"id": "grade_grades.itemid"},
            {
                "courseid": ("courseid", pl.Int64),
                "itemtype": ("itemtype", pl.String),
                "modname": ("itemmodule", pl.String),
                "iteminstance": ("iteminstance", pl.Int64),
                "itemnumber": ("itemnumber", pl.Int64),
                "grademax": ("grademax", pl.Float64),
                "grademin": ("grademin", pl.Float64),
                "gradepass": ("gradepass", pl.Float64),
            },
        ),
        *_module("grade_items.iteminstance", "grade_items.itemmodule"),
    ),
)
_COMPLETION = FetchedTable(
    "course_modules_completion",
    _types("id coursemoduleid userid completionstate overrideby timemodified"),
    joins=(
        Join(
            "course_modules",
            {"id": "course_modules_completion.coursemoduleid"},
            {"courseid": ("course", pl.Int64), "instance": ("instance", pl.Int64)},
        ),
        Join("modules", {"id": "course_modules.module"}, {"modname": ("name", pl.String)}),
    ),
)
_H5P_ATTEMPTS = FetchedTable(
    "h5pactivity_attempts",
    _types(
        "id h5pactivityid userid attempt rawscore maxscore duration completion success "
        "timecreated timemodified",
        "scaled",
    ),
    joins=(
        Join(
            "h5pactivity",
            {"id": "h5pactivity_attempts.h5pactivityid"},
            {"courseid": ("course", pl.Int64)},
        ),
        *_module("h5pactivity_attempts.h5pactivityid", "'h5pactivity'"),
    ),
)
TABLES = {
    table.name: table for table in (_LOG, _QUIZ_ATTEMPTS, _GRADES, _COMPLETION, _H5P_ATTEMPTS)
}
