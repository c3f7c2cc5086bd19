"""The simulated log as Open edX writes it: a tracking log, compressed as it is rotated.

Each event of a learner is the record that the LMS would write: of the server, where it grades or
stores something, otherwise of the browser, whose `event` is text that holds JSON. Neither says how
long a learner took; a plugin puts the seconds into `event.time_spent`.

Between them are records that no log is without, and that reading leaves out: requests of pages,
answers as the browser and the gradebook tell them, robots, visitors without a name, a team that
answers in the forum, authors in Studio, and clicks that say nothing about learning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from components.simulator.json_log import ROW, JsonLog, Record
from components.simulator.platform_logs import FILES, json_text

SITE = "https://lms.school.example"  # a name that RFC 2606 keeps for examples

_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
)
_ROBOT = "Mozilla/5.0 (compatible; CourseBot/2.1; +https://search.school.example/bot.html)"


def open_log(folder: Path) -> JsonLog:
    """Opens the log for writing, in a folder that exists."""
    path = folder / FILES["open_edx"]
    return JsonLog(path, _prepared, [*_before_events(), *_of_learners()])


def _prepared(events: pl.DataFrame, before: int) -> pl.DataFrame:
    """Returns events with what their records hold as text.

    Args:
        events: of one chunk of learners.
        before: how many events there were before.
    """
    person = pl.col("learner_id").str.extract(r"(\d+)$").cast(pl.Int64)
    attempts = pl.int_range(1, pl.len() + 1).over("learner_id", "knowledge_component")
    correct = pl.col("correct").cast(pl.String)
    return events.select(
        pl.int_range(before, before + pl.len()).alias(ROW),
        "event_type",
        "exercise_completed",
        pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.6f+00:00"),
        pl.col("learner_id").alias("learner"),
        pl.col("unit_id").alias("course"),
        pl.col("knowledge_component").alias("component"),
        pl.col("knowledge_component").str.extract("([^/]+)$").alias("name"),
        pl.col("dwell_seconds").cast(pl.String).alias("dwell"),
        pl.col("playback_speed").cast(pl.String).alias("speed"),
        correct.alias("grade"),
        correct.replace({"1": "correct", "0": "incorrect"}).alias("success"),
        attempts.cast(pl.String).alias("attempts"),
        # What belongs to a person stays the same: browser, address and session.
        pl.lit(pl.Series(_AGENTS)).gather(person % len(_AGENTS)).alias("agent"),
        pl.format("203.0.113.{}", person % 254 + 1).alias("ip"),  # addresses of RFC 5737
        pl.format("5e55{}", (person * 2654435761 % 2**32).cast(pl.String)).alias("session"),
    )


_COURSE = f"{SITE}/courses/{{course}}"
_BLOCK = "block-v1:School+{course}+2025+type@%s+block@{component}"
_SPENT = pl.col("dwell")


def _record(kind: str, event: Any, source: str, page: str | None, **context: Any) -> dict[str, Any]:
    """Returns a record in the order of the platform's keys.

    Args:
        kind: of the event.
        event: what has happened.
        source: `server` or `browser`.
        page: the address of the page; None for the server.
        context: more of the context.
    """
    return {
        "name": kind,
        "context": {
            "user_id": "{learner}",
            "course_id": "{course}",
            "org_id": "School",
            "enterprise_uuid": "",
            **context,
        },
        "username": "{learner}",
        "session": "{session}",
        "ip": "{ip}",
        "agent": "{agent}",
        "host": SITE.removeprefix("https://"),
        "referer": f"{_COURSE}/courseware/",
        "accept_language": "en-GB,en;q=0.9",
        "event": event,
        "time": "{time}",
        "event_type": kind,
        "event_source": source,
        "page": pl.lit("null") if page is None else page,
    }


def _by_server(kind: str, event: dict[str, Any], **context: Any) -> dict[str, Any]:
    return _record(kind, event, "server", None, **context)


def _by_browser(kind: str, event: Any) -> dict[str, Any]:
    """Returns a record of the browser, which sends text."""
    page = f"{_COURSE}/courseware/{{name}}/"
    return _record(kind, event, "browser", page, path="/event")


def _as_text(event: dict[str, Any]) -> pl.Expr:
    """Returns an object as JSON text within JSON."""
    quoted = json_text(event).str.replace_all('"', '\\"', literal=True)
    return pl.concat_str(pl.lit('"'), quoted, pl.lit('"'))


def _problem(kind: str, title: str, event: dict[str, Any]) -> dict[str, Any]:
    """Returns what the server records of a problem."""
    block = _BLOCK % "problem"
    handler = f"/courses/{{course}}/xblock/{block}/handler/xmodule_handler/problem_check"
    module = {"display_name": title, "usage_key": block}
    state = {"seed": 1, "student_answers": {"{name}_2_1": "choice_1"}, "done": pl.lit("true")}
    told = {
        "problem_id": block,
        "state": state,
        "answers": {"{name}_2_1": "choice_2"},
        **event,
        "time_spent": _SPENT,
    }
    return _by_server(kind, told, path=handler, course_user_tags=pl.lit("{}"), module=module)


def _of_learners() -> list[tuple[pl.Expr, Record]]:
    """Returns which events become which records."""
    kind = pl.col("event_type")
    exercise, quiz = kind == "exercise", kind == "quiz"
    submitted = pl.col("exercise_completed").fill_null(value=False)
    graded = {
        "grade": pl.col("grade"),
        "max_grade": 1,
        "success": "{success}",
        "attempts": pl.col("attempts"),
        "correct_map": {"{name}_2_1": {"correctness": "{success}", "hint": "", "msg": ""}},
        "submission": {"{name}_2_1": {"answer": "B", "input_type": "choicegroup", "variant": ""}},
    }
    video = {
        "id": "{component}",
        "code": "hls",
        "duration": 305.2,
        "currentTime": 12.48,
        "speed": pl.col("speed"),
        "time_spent": _SPENT,
    }
    page = {
        "name": "textbook.pdf.page.navigated",
        "chapter": "/asset-v1:School+{course}+2025+type@asset+block@{component}.pdf",
        "page": 7,
        "time_spent": _SPENT,
    }
    thread = {
        "commentable_id": "{component}",
        "id": "{session}",
        "title": "A question about {name}",
        "user_forums_roles": ["Student"],
        "user_course_roles": pl.lit("[]"),
        "time_spent": _SPENT,
    }
    return [
        (kind == "video", _by_browser("play_video", _as_text(video))),
        (exercise & submitted, _problem("problem_check", "Exercise: {name}", graded)),
        (exercise & ~submitted, _problem("save_problem_success", "Exercise: {name}", {})),
        (quiz, _problem("problem_check", "Quiz: {name}", graded)),
        (kind == "reading", _by_browser("textbook.pdf.page.navigated", _as_text(page))),
        (kind == "forum", _by_server("edx.forum.thread.viewed", thread)),
    ]


def _before_events() -> list[tuple[pl.Expr, Record]]:
    """Returns before which events there is a record that is no event of a learner."""
    number, kind = pl.col(ROW), pl.col("event_type")
    answered = kind.is_in(["exercise", "quiz"]) & pl.col("exercise_completed").fill_null(True)
    told = _as_text({"POST": {"input_{name}_2_1": ["choice_2"]}, "GET": pl.lit("{}")})
    request = f"/courses/{{course}}/xblock/{_BLOCK % 'problem'}/handler/xmodule_handler/problem_get"
    requested = _record(request, told, "server", None, path=request)
    video = _by_browser("play_video", _as_text({"id": "{component}", "currentTime": 0}))
    points = {
        "user_id": "{learner}",
        "course_id": "{course}",
        "problem_id": _BLOCK % "problem",
        "event_transaction_type": "edx.grades.problem.submitted",
        "weighted_earned": pl.col("grade"),
        "weighted_possible": 1,
    }
    total = {"user_id": "{learner}", "course_id": "{course}", "percent_grade": 0.41}
    reply = {
        "commentable_id": "{component}",
        "user_forums_roles": ["Moderator", "Student"],
        "user_course_roles": ["Instructor"],
    }
    by_teacher = {"username": "teacher-of-{course}"}
    by_nobody = {"username": "", "context": {"user_id": "", "course_id": "{course}"}}
    return [
        (number % 2 == 0, requested),
        (answered, _by_browser("problem_check", "input_{name}_2_1=choice_2")),
        (answered, _by_server("edx.grades.problem.submitted", points)),
        (answered & (number % 3 == 0), _by_server("edx.grades.course.grade_calculated", total)),
        (number % 29 == 7, _by_browser("edx.ui.lms.link_clicked", _as_text({"target_url": SITE}))),
        (number % 61 == 11, video | {"agent": _ROBOT}),
        (number % 83 == 13, video | by_nobody),
        (number % 97 == 17, _by_server("edx.forum.response.created", reply) | by_teacher),
        (number % 101 == 19, video | {"host": "studio.school.example"}),
        (number % 103 == 23, video | {"username": "staff"}),
    ]
