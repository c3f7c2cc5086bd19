r"""The simulated log as a Moodle site writes it: rows of the table logstore_standard_log, as CSV.

The dump has the three columns that the join of docs/formats/moodle.md adds, so that learners and
units are called as elsewhere: `username`, `shortname` (of the course) and `cmidnumber` (the ID
number of the activity, here its topic). Videos, exercises and quizzes are H5P activities, whose
events hold an xAPI statement (`mod_h5pactivity\xapi\handler` and
`core_xapi\local\statement::minify` in Moodle's source); readings and forums are pages and
discussions, and how long they were open is what a plugin of the site adds (`timespent`).

Between them are the rows of any real log that are no learning: logins, guests, teachers, reports.
Beside the log is the table of H5P attempts, with what the same events achieved.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from components.simulator.learner_model import CATALOGUE, EVENT_TYPES
from components.simulator.platform_logs import FILES

LOG = FILES["moodle"]
ATTEMPTS = "h5pactivity_attempts.csv"

_COLUMNS = (
    "id", "eventname", "component", "action", "target", "objecttable", "objectid", "crud",
    "edulevel", "contextid", "contextlevel", "contextinstanceid", "userid", "courseid",
    "relateduserid", "anonymous", "other", "timecreated", "origin", "ip", "realuserid",
    "username", "shortname", "cmidnumber",
)  # fmt: skip
_ATTEMPT_COLUMNS = (
    "id", "h5pactivityid", "userid", "timecreated", "timemodified", "attempt", "rawscore",
    "maxscore", "scaled", "duration", "completion", "success",
    "courseid", "cmid", "username", "shortname", "cmidnumber",
)  # fmt: skip
_COMPONENTS = [f"{unit}/{name}" for unit, names in CATALOGUE.items() for name in names]

_FIRST_USER = 100  # below are teachers and the accounts of the site
_GUEST, _ADMIN = 1, 2
_FIRST_COURSE = 2  # 1 is the front page
_FIRST_MODULE = 10
_OF_ACTIVITIES = 70  # level of contexts
_MODULE = {
    "video": "h5pactivity",
    "exercise": "h5pactivity",
    "forum": "forum",
    "reading": "page",
    "quiz": "h5pactivity",
}
_CONTENT = {
    "video": "H5P.InteractiveVideo-1.26",
    "exercise": "H5P.MultiChoice-1.16",
    "quiz": "H5P.QuestionSet-1.20",
}
_VERB = {"video": "completed", "exercise": "answered", "quiz": "completed"}
_EVENT = {  # name of the class, action, target
    "h5pactivity": ("statement_received", "received", "statement"),
    "page": ("course_module_viewed", "viewed", "course_module"),
    "forum": ("discussion_viewed", "viewed", "discussion"),
}
_PLACE = "_place"

# One in `_EVERY` learning events is followed by each of these, at the same second.
_EVERY = 61
_NOISE: tuple[dict[str, str | int | None], ...] = (
    {"eventname": r"\core\event\user_loggedin", "component": "core", "action": "loggedin",
     "target": "user", "objecttable": "user", "edulevel": 0, "contextlevel": 10,
     "contextinstanceid": 0, "courseid": 0, "shortname": None},
    {"eventname": r"\core\event\dashboard_viewed", "component": "core", "action": "viewed",
     "target": "dashboard", "objecttable": None, "edulevel": 0, "contextlevel": 30,
     "courseid": 0, "shortname": None},
    {"userid": _GUEST, "username": "guest"},  # mostly robots
    {"eventname": r"\core\event\course_viewed", "component": "core", "userid": 0,
     "username": None, "contextlevel": 50},
    {"userid": _ADMIN, "username": "admin", "origin": "cli", "ip": None},
    {"realuserid": _ADMIN},
    {"eventname": r"\core\event\user_graded", "component": "core", "action": "graded",
     "target": "user", "objecttable": "grade_grades", "crud": "u", "edulevel": 1,
     "contextlevel": 50, "userid": 3, "username": "teacher"},
    {"eventname": r"\gradereport_user\event\grade_report_viewed",
     "component": "gradereport_user", "target": "grade_report", "objecttable": None,
     "edulevel": 2, "contextlevel": 50},
    {"eventname": r"\mod_page\event\course_module_instance_list_viewed", "component": "mod_page",
     "target": "course_module_instance_list", "objecttable": None, "edulevel": 2,
     "contextlevel": 50},
    {"eventname": r"\mod_feedback\event\response_submitted", "component": "mod_feedback",
     "action": "submitted", "target": "response", "objecttable": "feedback_completed",
     "crud": "c", "anonymous": 1},
    {"origin": "restore"},
)  # fmt: skip


class MoodleLog:
    """A dump of the log of a site, and of its attempts at H5P activities.

    Attributes:
        paths: the file with all events.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / LOG]
        self._log = _Table(folder / LOG, _COLUMNS)
        self._attempts = _Table(folder / ATTEMPTS, _ATTEMPT_COLUMNS)

    def write(self, events: pl.DataFrame) -> None:
        """Appends events; see `platform_logs.PlatformLog`."""
        rows = _with_ids(events)
        learning = rows.with_columns(_columns_of_log()).select(*_COLUMNS[1:], _PLACE)
        noise = [_noise(learning, number) for number in range(len(_NOISE))]
        self._log.append(pl.concat([learning, *noise], how="diagonal_relaxed").sort(_PLACE))
        self._attempts.append(_attempts(rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._log.close()
        self._attempts.close()


def open_log(folder: Path) -> MoodleLog:
    """Opens a new log in a folder."""
    return MoodleLog(folder)


class _Table:
    """A new CSV file of rows that are numbered in the column `id`."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self._file = path.open("wb")
        self._columns = columns
        self._rows = 0
        self._file.write((",".join(columns) + "\n").encode())

    def append(self, rows: pl.DataFrame) -> None:
        first = self._rows + 1
        numbered = rows.with_columns(pl.int_range(first, first + rows.height).alias("id"))
        numbered.select(self._columns).write_csv(self._file, include_header=False)
        self._rows += rows.height

    def close(self) -> None:
        self._file.close()


def _with_ids(events: pl.DataFrame) -> pl.DataFrame:
    """Returns events with the numbers and names that Moodle gives their learners and activities."""
    topic = pl.col("knowledge_component").replace_strict(
        _COMPONENTS, range(len(_COMPONENTS)), return_dtype=pl.Int64
    )
    kind = pl.col("event_type").replace_strict(
        EVENT_TYPES, range(len(EVENT_TYPES)), return_dtype=pl.Int64
    )
    course = pl.col("unit_id").replace_strict(
        [*CATALOGUE], range(len(CATALOGUE)), return_dtype=pl.Int64
    )
    number = pl.col("learner_id").str.extract(r"(\d+)$").cast(pl.Int64)
    return events.select(
        "event_type",
        "dwell_seconds",
        "exercise_completed",
        "correct",
        "playback_speed",
        pl.col("learner_id").alias("username"),
        pl.col("unit_id").alias("shortname"),
        pl.col("knowledge_component").alias("cmidnumber"),
        pl.col("time").dt.epoch("s").alias("timecreated"),
        pl.col("event_type").replace_strict(_MODULE, return_dtype=pl.String).alias("modname"),
        (number + _FIRST_USER).alias("userid"),
        (course + _FIRST_COURSE).alias("courseid"),
        (topic * len(EVENT_TYPES) + kind + _FIRST_MODULE).alias("cmid"),
        (pl.int_range(pl.len()) * (len(_NOISE) + 1)).alias(_PLACE),
    )


def _columns_of_log() -> list[pl.Expr]:
    """Returns the columns of the log; `minify` leaves out of a statement what they say."""
    module = pl.col("modname")
    name, action, target = (
        module.replace_strict({key: event[place] for key, event in _EVENT.items()})
        for place in range(3)
    )
    is_forum = pl.col("event_type") == "forum"
    return [
        _texts(r"\mod_", module, "\\event\\", name).alias("eventname"),
        _texts("mod_", module).alias("component"),
        action.alias("action"),
        target.alias("target"),
        pl.when(is_forum).then(pl.lit("forum_discussions")).otherwise(module).alias("objecttable"),
        (pl.col("cmid") - _FIRST_MODULE + 1).alias("objectid"),
        pl.when(module == "h5pactivity").then(pl.lit("u")).otherwise(pl.lit("r")).alias("crud"),
        pl.lit(2).alias("edulevel"),
        (pl.col("cmid") + 100).alias("contextid"),
        pl.lit(_OF_ACTIVITIES).alias("contextlevel"),
        pl.col("cmid").alias("contextinstanceid"),
        pl.lit(None, pl.Int64).alias("relateduserid"),
        pl.lit(0).alias("anonymous"),
        pl.when(module == "h5pactivity").then(_statement()).otherwise(_page_view()).alias("other"),
        pl.lit("web").alias("origin"),
        pl.format("10.{}.{}.9", pl.col("userid") // 250 % 250, pl.col("userid") % 250).alias("ip"),
        pl.lit(None, pl.Int64).alias("realuserid"),
    ]


def _page_view() -> pl.Expr:
    """Returns what is logged with a view: as PHP writes JSON, `null` for nothing."""
    discussion = pl.when(pl.col("modname") == "forum").then(_field("discussionid", "cmid"))
    fields = _joined(discussion, _field("timespent", "dwell_seconds"))
    return pl.when(fields == "").then(pl.lit("null")).otherwise(_object(fields))


def _statement() -> pl.Expr:
    r"""Returns the xAPI statement of an H5P activity, as PHP writes JSON: with `\/` for slashes."""
    kind = pl.col("event_type")
    verb = kind.replace_strict(_VERB, default=None, return_dtype=pl.String)
    content = kind.replace_strict(_CONTENT, default=None, return_dtype=pl.String)
    speed = pl.col("playback_speed").cast(pl.String)
    speed = _texts(r',"extensions":{"https:\/\/w3id.org\/xapi\/video\/extensions\/speed":"', speed)
    completion = pl.col("exercise_completed").cast(pl.String)
    success = (pl.col("correct") == 1).cast(pl.String)
    result = _joined(
        _texts('"completion":', completion),
        _texts('"success":', success),
        _texts('"duration":"PT', pl.col("dwell_seconds").cast(pl.String), 'S"'),
    )
    return pl.concat_str(
        _texts(r'{"verb":{"id":"http:\/\/adlnet.gov\/expapi\/verbs\/', verb, '"},'),
        _texts(r'"object":{"id":"https:\/\/moodle.example.org\/xapi\/activity\/', pl.col("cmid")),
        _texts(r'"},"context":{"contextActivities":{"category":[{"id":"http:\/\/h5p.org\/'),
        _texts(r"libraries\/", content, r'"}]}'),
        _texts(speed, 'x"}').fill_null(""),
        _texts('},"result":', _object(result), "}"),
    )


def _attempts(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the attempts at exercises and quizzes, with a point for a right answer."""
    attempts = rows.filter(pl.col("event_type").is_in(["exercise", "quiz"]))
    seconds = pl.col("dwell_seconds").round().cast(pl.Int64)
    completed = pl.col("exercise_completed").fill_null(value=True).cast(pl.Int8)
    return attempts.with_columns(
        pl.col("timecreated").alias("timemodified"),
        pl.int_range(1, pl.len() + 1).over("userid", "cmid").alias("attempt"),
        pl.col("correct").fill_null(0).alias("rawscore"),
        pl.lit(1).alias("maxscore"),
        pl.col("correct").fill_null(0).cast(pl.Float64).alias("scaled"),
        seconds.fill_null(0).alias("duration"),
        completed.alias("completion"),
        pl.col("correct").alias("success"),
        (pl.col("cmid") - _FIRST_MODULE + 1).alias("h5pactivityid"),
    )


def _noise(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """Returns rows of one kind that are no learning, each after one of `rows`."""
    some = rows.gather_every(_EVERY, offset=(number * 7) % _EVERY)
    changes = [pl.lit(value).alias(name) for name, value in _NOISE[number].items()]
    rows = some.with_columns(*changes, pl.col(_PLACE) + number + 1, other=pl.lit("null"))
    is_activity = pl.col("contextlevel") == _OF_ACTIVITIES
    return rows.with_columns(cmidnumber=pl.when(is_activity).then("cmidnumber"))


def _texts(*parts: str | pl.Expr) -> pl.Expr:
    """Returns texts one after the other; null if one of them is."""
    return pl.concat_str(pl.lit(part) if isinstance(part, str) else part for part in parts)


def _field(name: str, column: str) -> pl.Expr:
    return _texts(f'"{name}":', pl.col(column).cast(pl.String))


def _joined(*fields: pl.Expr) -> pl.Expr:
    """Returns fields of JSON in a row, without those that are null."""
    return pl.concat_str(*fields, separator=",", ignore_nulls=True)


def _object(fields: pl.Expr) -> pl.Expr:
    return _texts("{", fields, "}")
