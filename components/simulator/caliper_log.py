"""The simulated log as a Caliper endpoint keeps it: one event per line, as sensors sent them.

Caliper Analytics 1.2. The simulated school has a player, an e-reader, exercises that give feedback
at once, quizzes that an autograder grades, and a forum. Caliper has no place for how long a page
was open or how fast a video played; the sensors put both into `extensions`.

Between the events of learners there are those that no log is without, and that reading leaves out:
logins, teachers, robots, people without a name, software that acts on its own, and descriptions of
courses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from components.simulator.json_log import ROW, JsonLog
from components.simulator.platform_logs import FILES, json_text

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = "http://purl.imsglobal.org/ctx/caliper/v1p2"
SCHOOL = "https://school.example"  # a name that RFC 2606 keeps for examples

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_ROBOT = "Mozilla/5.0 (compatible; CourseBot/2.1; +https://school.example/robot)"


def open_log(folder: Path) -> JsonLog:
    """Opens the log for writing, in a folder that exists."""
    return JsonLog(folder / FILES["caliper"], _prepared, [*_of_others(), *_of_learners()])


def _prepared(events: pl.DataFrame, before: int) -> pl.DataFrame:
    """Returns events with what their records hold as text.

    Args:
        events: of one chunk of learners.
        before: how many events there were before.
    """
    attempt = pl.int_range(1, pl.len() + 1).over("learner_id", "knowledge_component")
    return events.select(
        pl.int_range(before, before + pl.len()).alias(ROW),
        "event_type",
        "exercise_completed",
        pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S.000Z"),
        pl.col("learner_id").alias("learner"),
        pl.col("unit_id").alias("unit"),
        pl.col("knowledge_component").alias("component"),
        pl.col("dwell_seconds").cast(pl.String).alias("dwell"),
        pl.col("playback_speed").cast(pl.String).alias("speed"),
        pl.col("correct").cast(pl.String),
        attempt.cast(pl.String).alias("attempt"),
    )


_LEARNER = f"{SCHOOL}/users/{{learner}}"
_COURSE = f"{SCHOOL}/courses/{{unit}}"
_SESSION = f"{SCHOOL}/sessions/{{learner}}"
_PERSON = {"id": _LEARNER, "type": "Person"}
_GROUP = {"id": _COURSE, "type": "CourseSection", "courseNumber": "{unit}"}
_OBJECTIVE = {"id": f"{SCHOOL}/objectives/{{component}}", "type": "LearningObjective"}
_SPENT = {"duration": "PT{dwell}S"}


def _membership(member: str, role: str) -> dict[str, Any]:
    return {
        "id": f"{_COURSE}/rosters/1",
        "type": "Membership",
        "member": member,
        "organization": _COURSE,
        "roles": [role],
        "status": "Active",
    }


def _session(agent: str) -> dict[str, Any]:
    client = {"id": f"{SCHOOL}/clients/1", "type": "SoftwareApplication", "userAgent": agent}
    return {"id": _SESSION, "type": "Session", "client": client}


def _record(kind: str, profile: str, action: str, about: dict[str, Any]) -> dict[str, Any]:
    """Returns an event of a learner."""
    return {
        "@context": CONTEXT,
        "id": "urn:uuid:{uuid}",
        "type": kind,
        "profile": profile,
        "actor": _PERSON,
        "action": action,
        "object": about,
        "eventTime": "{time}",
        "edApp": SCHOOL,
        "group": _GROUP,
        "membership": _membership(_LEARNER, "Learner"),
        "session": _session(_BROWSER),
    }


def _resource(kind: str, folder: str) -> dict[str, Any]:
    about = {"id": f"{SCHOOL}/{folder}/{{component}}", "type": kind}
    return {**about, "learningObjectives": [_OBJECTIVE]}


_VIDEO = _resource("VideoObject", "videos")
_PAGE = _resource("Page", "pages")
_EXERCISE = _resource("AssessmentItem", "exercises") | {"maxScore": 1.0}
_QUIZ = {"id": f"{_COURSE}/quiz", "type": "Assessment"}
_BOARD = {"id": f"{_COURSE}/forum", "type": "Forum"}
_THREAD = _resource("Thread", "threads") | {"isPartOf": _BOARD}
_MESSAGE = {"id": f"{SCHOOL}/messages/{{uuid}}", "type": "Message", "isPartOf": _THREAD}
_MOMENT = {
    "id": f"{SCHOOL}/videos/{{component}}#t",
    "type": "MediaLocation",
    "currentTime": "PT{dwell}S",
    "extensions": {"playbackRate": pl.col("speed")},
}
_RESPONSE = {
    "id": f"{SCHOOL}/responses/{{uuid}}",
    "type": "MultipleChoiceResponse",
    **_SPENT,
    "extensions": {"correct": pl.col("correct").replace({"1": "true", "0": "false"})},
}
_ATTEMPT = {
    "id": f"{SCHOOL}/attempts/{{uuid}}",
    "type": "Attempt",
    "assignee": _PERSON,
    "assignable": _resource("AssessmentItem", "questions") | {"isPartOf": _QUIZ},
    "count": pl.col("attempt"),
    **_SPENT,
}


def _score() -> dict[str, Any]:
    """Returns the score of an attempt, which is left out where there is none."""
    is_given = pl.col("correct").is_not_null()
    return {
        "id": pl.when(is_given).then(json_text(f"{SCHOOL}/scores/{{uuid}}")),
        "type": "Score",
        "attempt": f"{SCHOOL}/attempts/{{uuid}}",
        "maxScore": 1.0,
        "scoreGiven": pl.col("correct"),
    }


def _of_learners() -> list[tuple[pl.Expr, dict[str, Any]]]:
    """Returns which events become which records."""
    kind, number = pl.col("event_type"), pl.col(ROW)
    exercise, reading, forum = (kind == name for name in ("exercise", "reading", "forum"))
    completed = pl.col("exercise_completed").fill_null(value=False)
    spent = {"extensions": _SPENT}
    # The grader is no member of the course, and acts in no session of the learner.
    by_grader = {
        "actor": {"id": f"{SCHOOL}/autograder", "type": "SoftwareApplication"},
        "membership": None,
        "session": None,
    }
    # Sensors may send entities that are known "thinned", by their ids only.
    thinned = {"actor": _LEARNER, "group": _COURSE, "membership": f"{_COURSE}/rosters/1"}

    watched = _record("MediaEvent", "MediaProfile", "Paused", _VIDEO) | {"target": _MOMENT}
    answered = _record("AssessmentItemEvent", "AssessmentProfile", "Completed", _EXERCISE)
    skipped = _record("AssessmentItemEvent", "AssessmentProfile", "Skipped", _EXERCISE)
    graded = _record("GradeEvent", "GradingProfile", "Graded", _ATTEMPT) | by_grader
    viewed = _record("ViewEvent", "ReadingProfile", "Viewed", _PAGE)
    read = _record("ThreadEvent", "ForumProfile", "MarkedAsRead", _THREAD)
    posted = _record("MessageEvent", "ForumProfile", "Posted", _MESSAGE)
    return [
        (kind == "video", watched | spent),
        (exercise & completed, answered | {"generated": _RESPONSE}),
        (exercise & ~completed, skipped | spent),
        (kind == "quiz", graded | {"generated": _score()}),
        (reading & (number % 4 > 0), viewed | spent),
        (reading & (number % 4 == 0), viewed | spent | thinned),
        (forum & (number % 3 > 0), read | spent),
        (forum & (number % 3 == 0), posted | spent),
    ]


def _of_others() -> list[tuple[pl.Expr, dict[str, Any]]]:
    """Returns before which events there is a record of somebody or something else."""
    number = pl.col(ROW)
    app = {"id": SCHOOL, "type": "SoftwareApplication"}
    teacher = f"{SCHOOL}/users/teacher-of-{{unit}}"
    nobody = {"id": "http://purl.imsglobal.org/caliper/Person", "type": "Person"}
    course = {"@context": CONTEXT, **_GROUP, "name": "Course {unit}", "dateModified": "{time}"}
    by_teacher = {
        "actor": {"id": teacher, "type": "Person"},
        "membership": _membership(teacher, "Instructor"),
    }
    by_nobody = {"actor": nobody, "membership": None, "session": None}
    login = _record("SessionEvent", "SessionProfile", "LoggedIn", app)
    viewed = _record("ViewEvent", "ReadingProfile", "Viewed", _PAGE)
    used = _record("ToolUseEvent", "ToolUseProfile", "Used", app)
    modified = _record("Event", "GeneralProfile", "Modified", _PAGE)
    return [
        (number % 29 == 0, login),
        (number % 53 == 5, viewed | by_teacher),
        (number % 61 == 7, viewed | {"session": _session(_ROBOT)}),
        (number % 83 == 11, used | by_nobody),
        (number % 71 == 13, modified | {"actor": app}),
        (number % 101 == 17, course),
    ]
