"""The simulated log as a record store gives it back: statements of xAPI 1.0.3, one per line.

The simulated platform has a player that follows the profile for video, pages, questions, quizzes
that are passed or failed, and a forum. What a video, page or exercise teaches is an objective in
`contextActivities.other`; the course is in `grouping`.

Between the statements of learners there are those that reading leaves out: logins, enrolments,
groups, plans, robots, a test user, statements that void others, and predictions that Mastery itself
has sent to the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from components.simulator.json_log import ROW, JsonLog, Record
from components.simulator.learner_model import CATALOGUE
from components.simulator.platform_logs import FILES

if TYPE_CHECKING:
    from pathlib import Path

LMS = "https://lms.example.org"  # a name that RFC 2606 keeps for examples
ADL = "http://adlnet.gov/expapi"
TINCAN = "http://id.tincanapi.com"
VIDEO = "https://w3id.org/xapi/video"
VIDEO_SECONDS = 600

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_ROBOT = "Mozilla/5.0 (compatible; CourseBot/2.1; +https://lms.example.org/robot)"


def open_log(folder: Path) -> JsonLog:
    """Opens the log for writing, in a folder that exists."""
    return JsonLog(folder / FILES["xapi"], _prepared, [*_of_others(), *_of_learners()])


def _prepared(events: pl.DataFrame, before: int) -> pl.DataFrame:
    """Returns events with what statements hold as text; see `JsonLog`."""
    units = {unit: f"{number:08x}" for number, unit in enumerate(CATALOGUE)}
    learner = pl.col("learner_id").str.extract(r"(\d+)$").str.zfill(12)
    unit = pl.col("unit_id").replace_strict(units, return_dtype=pl.String)
    watched = pl.col("dwell_seconds").fill_null(0.0).clip(0, VIDEO_SECONDS).round(1)
    return events.select(
        pl.int_range(before, before + pl.len()).alias(ROW),
        "event_type",
        "exercise_completed",
        is_correct=pl.col("correct") > 0,
        time=pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S.000Z"),
        learner=pl.col("learner_id"),
        unit=pl.col("unit_id"),
        component=pl.col("knowledge_component"),
        dwell=pl.col("dwell_seconds").cast(pl.String),
        speed=pl.col("playback_speed").cast(pl.String),
        registration=unit + "-0000-4000-8000-" + learner,
        completion=pl.col("exercise_completed").cast(pl.String),
        success=(pl.col("correct") > 0).cast(pl.String),
        score=pl.col("correct").cast(pl.String),
        watched=watched.cast(pl.String),
        progress=(watched / VIDEO_SECONDS).round(3).cast(pl.String),
    )


def _account(name: str) -> Record:
    return {"objectType": "Agent", "account": {"homePage": LMS, "name": name}}


def _verb(identifier: str) -> Record:
    word = identifier.rpartition("/")[2].replace("-", " ")
    return {"id": identifier, "display": {"en-US": word}}


def _activity(identifier: str, kind: str, name: str | None = None) -> Record:
    named = {"name": {"en": name}} if name else {}
    return {"objectType": "Activity", "id": identifier, "definition": {"type": kind, **named}}


def _in_profile(identifier: str, context: Record) -> Record:
    """Returns a context that names the profile that its statement follows."""
    profile = _activity(identifier, f"{ADL}/activities/profile")
    activities = {**context.get("contextActivities", {}), "category": [profile]}
    return {**context, "contextActivities": activities}


_LEARNER = _account("{learner}")
_COURSE = _activity(f"{LMS}/courses/{{unit}}", f"{ADL}/activities/course", "{unit}")
_OBJECTIVE = _activity(f"{LMS}/objectives/{{component}}", f"{ADL}/activities/objective")
_CONTEXT = {
    "registration": "{registration}",
    "contextActivities": {"grouping": [_COURSE], "other": [_OBJECTIVE]},
    "platform": "Example LMS",
    "language": "en",
}


def _statement(verb: str, about: Record, result: Record | None, context: Record) -> Record:
    """Returns a statement of a learner."""
    return {
        "id": "{uuid}",
        "actor": _LEARNER,
        "verb": _verb(verb),
        "object": about,
        "result": result,
        "context": context,
        "timestamp": "{time}",
        "stored": "{time}",
        "authority": _account("store"),
        "version": "1.0.3",
    }


_VIDEO = _activity(f"{LMS}/videos/{{component}}", f"{VIDEO}/activity-type/video", "{component}")
_PAGE = _activity(
    f"{LMS}/pages/{{component}}", "http://activitystrea.ms/schema/1.0/page", "{component}"
)
_EXERCISE = _activity(f"{LMS}/exercises/{{component}}", f"{ADL}/activities/question", "{component}")
_QUIZ = _activity(f"{LMS}/quizzes/{{component}}", f"{ADL}/activities/assessment", "{component}")
_TOPIC = _activity(f"{LMS}/topics/{{component}}", f"{TINCAN}/activitytype/forum-topic")
_SITE = _activity(LMS, f"{TINCAN}/activitytype/lms", "Example LMS")

_SPENT = {"duration": "PT{dwell}S"}
_SCORE = {"scaled": pl.col("score"), "raw": pl.col("score"), "min": 0, "max": 1}


def _video_context(agent: str) -> Record:
    """Returns the context of a video that was watched by a program; see the profile for video."""
    extensions = f"{VIDEO}/extensions"
    return {
        **_in_profile(VIDEO, _CONTEXT),
        "extensions": {
            f"{extensions}/session-id": "{uuid}",
            f"{extensions}/length": VIDEO_SECONDS,
            f"{extensions}/user-agent": agent,
            f"{extensions}/speed": "{speed}x",
        },
    }


def _of_learners() -> list[tuple[pl.Expr, Record]]:
    """Returns which events become which statements."""
    kind, number = pl.col("event_type"), pl.col(ROW)
    exercise, quiz = kind == "exercise", kind == "quiz"
    is_correct = pl.col("is_correct")
    done = pl.col("exercise_completed").fill_null(value=False)

    extensions = f"{VIDEO}/extensions"
    seen = {
        "extensions": {
            f"{extensions}/time": pl.col("watched"),
            f"{extensions}/progress": pl.col("progress"),
        }
    }
    answer = {"completion": pl.col("completion"), "success": pl.col("success"), **_SPENT}
    graded = {"success": pl.col("success"), "score": _SCORE, **_SPENT}

    watched = _statement(f"{ADL}/verbs/terminated", _VIDEO, seen | _SPENT, _video_context(_BROWSER))
    answered = _statement(f"{ADL}/verbs/answered", _EXERCISE, answer, _CONTEXT)
    skipped = _statement(f"{TINCAN}/verb/skipped", _EXERCISE, answer, _CONTEXT)
    passed = _statement(f"{ADL}/verbs/passed", _QUIZ, graded, _CONTEXT)
    failed = _statement(f"{ADL}/verbs/failed", _QUIZ, graded, _CONTEXT)
    attempted = _statement(f"{ADL}/verbs/attempted", _QUIZ, _SPENT, _CONTEXT)
    viewed = _statement(f"{TINCAN}/verb/viewed", _PAGE, _SPENT, _CONTEXT)
    read = _statement(f"{ADL}/verbs/experienced", _TOPIC, _SPENT, _CONTEXT)
    written = _statement(f"{ADL}/verbs/commented", _TOPIC, _SPENT, _CONTEXT)
    # Who leaves the time to the store leaves it out (xAPI 1.0.3, part 2, 2.4.7).
    timed_by_store = {"timestamp": None}
    return [
        (kind == "video", watched),
        (exercise & done, answered),
        (exercise & ~done, skipped),
        (quiz & is_correct, passed),
        (quiz & ~is_correct, failed),
        (quiz & is_correct.is_null(), attempted),
        ((kind == "reading") & (number % 4 > 0), viewed),
        ((kind == "reading") & (number % 4 == 0), viewed | timed_by_store),
        ((kind == "forum") & (number % 3 > 0), read),
        ((kind == "forum") & (number % 3 == 0), written),
    ]


def _of_others() -> list[tuple[pl.Expr, Record]]:
    """Returns before which events there is a statement that is no event of a learner."""
    number = pl.col(ROW)
    team = {"objectType": "Group", "account": {"homePage": LMS, "name": "team-{unit}"}}
    voided = {"objectType": "StatementRef", "id": "{registration}"}
    plan = {
        "objectType": "SubStatement",
        "actor": _LEARNER,
        "verb": _verb(f"{ADL}/verbs/answered"),
        "object": _EXERCISE,
    }
    outside = {key: value for key, value in _CONTEXT.items() if key != "contextActivities"}
    # `platform` is for activities only (xAPI 1.0.3, part 2, 2.4.6).
    about_others = {"context": {"language": "en"}}

    login = _statement("https://w3id.org/xapi/adl/verbs/logged-in", _SITE, None, outside)
    enrolled = _statement(
        f"{ADL}/verbs/registered", _COURSE, None, _in_profile("https://w3id.org/xapi/lms", outside)
    )
    viewed = _statement(f"{TINCAN}/verb/viewed", _PAGE, _SPENT, _CONTEXT)
    planned = _statement("http://activitystrea.ms/schema/1.0/plan", plan, None, {})
    voiding = _statement(f"{ADL}/verbs/voided", voided, None, {})
    seen = {
        "extensions": {f"{VIDEO}/extensions/time": 0, f"{VIDEO}/extensions/progress": 0},
    }
    by_robot = _statement(f"{ADL}/verbs/terminated", _VIDEO, seen, _video_context(_ROBOT))
    predicted = _statement("tag:mastery,2026:xapi/verbs/predicted", _COURSE, None, outside)
    tester = {"actor": {"name": "Test user", **_account("tester")}}
    return [
        (number % 29 == 0, login),
        (number % 47 == 3, enrolled),
        (number % 53 == 5, viewed | {"actor": team}),
        (number % 61 == 7, by_robot),
        (number % 71 == 13, viewed | tester),
        (number % 83 == 11, planned | about_others),
        (number % 97 == 19, voiding | about_others | {"actor": _account("store")}),
        (number % 101 == 17, predicted),
    ]
