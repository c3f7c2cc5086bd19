"""Statements of xAPI: who, where, when and what, by the base specification and its profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.config.mapping import EventMapping
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile, format_of
from components.platforms.formats import mapping_of
from tests.ralph import convert, find_programs

Record = dict[str, Any]

ADL = "http://adlnet.gov/expapi"
CMI5 = "https://w3id.org/xapi/cmi5"
VIDEO = "https://w3id.org/xapi/video"
COURSE_TYPE = f"{ADL}/activities/course"
TIME = "2026-01-05T08:00:00Z"


def activity(identifier: str, kind: str | None = None) -> Record:
    return {"id": identifier, **({"definition": {"type": kind}} if kind else {})}


def statement(verb: str = f"{ADL}/verbs/answered", **changes: Any) -> Record:
    """Returns a statement of a learner about a question of a course."""
    course = activity("https://lms.example.org/courses/algebra", COURSE_TYPE)
    record = {
        "id": "5a5c7ae4-3069-4940-8a97-32ab6650e4f4",
        "actor": {"account": {"homePage": "https://lms.example.org", "name": "anna"}},
        "verb": {"id": verb},
        "object": activity("https://lms.example.org/questions/1", f"{ADL}/activities/question"),
        "context": {"contextActivities": {"grouping": [course]}},
        "timestamp": TIME,
        **changes,
    }
    return {name: value for name, value in record.items() if value is not None}


def read_file(path: Path, columns: list[str] | None = None) -> tuple[list[Record], dict[str, int]]:
    """Returns the events in a file, and how many statements were left out by reason."""
    mapping = mapping_of("xapi")
    rows: list[Record] = []
    left_out: dict[str, int] = {}
    file = LogFile(str(path), format_of(str(path)) or "", 0)
    for chunk in read_chunks(file, columns or [*mapping.columns], mapping):
        assert not isinstance(chunk, Problem), str(chunk)
        rows += chunk.frame.to_dicts()
        for hint in chunk.hints:
            left_out[hint.text.removeprefix("records left out, ")] = hint.count
    return rows, left_out


def read(folder: Path, *statements: Record) -> tuple[list[Record], dict[str, int]]:
    path = folder / "statements.jsonl"
    path.write_text("".join(f"{json.dumps(item)}\n" for item in statements), encoding="utf-8")
    return read_file(path)


def event_of(folder: Path, record: Record) -> Record:
    (row,), left_out = read(folder, record)
    assert left_out == {}
    return row


@pytest.mark.parametrize(
    ("actor", "learner"),
    [
        ({"account": {"homePage": "https://a.example", "name": "anna"}}, "anna"),
        ({"account": {"homePage": "https://a.example", "name": 17}}, "17"),
        ({"mbox": "mailto:anna@example.org", "name": "Anna"}, "anna@example.org"),
        ({"mbox_sha1sum": "ebd31e95054c018b10727ccffd2ef2ec3a016ee9"}, None),
        ({"openid": "https://anna.openid.example.org/"}, "https://anna.openid.example.org/"),
    ],
)
def test_a_learner_is_known_by_any_identifier(
    actor: Record, learner: str | None, tmp_path: Path
) -> None:
    for kind in ({}, {"objectType": "Agent"}):
        row = event_of(tmp_path, statement(actor={**kind, **actor}))
        assert row["learner_id"] == (learner or actor["mbox_sha1sum"])


def test_actors_that_are_nobody_or_several_are_left_out(tmp_path: Path) -> None:
    group = {"objectType": "Group", "member": [{"mbox": "mailto:anna@example.org"}]}
    named = {"objectType": "Group", "mbox": "mailto:team@example.org"}
    records = [statement(actor=actor) for actor in (group, named, {"name": "Anna"}, None)]
    rows, left_out = read(tmp_path, statement(), *records)
    assert len(rows) == 1
    assert left_out == {"groups as actors": 2, "without a learner": 2}


@pytest.mark.parametrize(
    ("context", "about", "unit"),
    [
        (
            {"grouping": [activity("https://x.example/courses/algebra/", COURSE_TYPE)]},
            None,
            "algebra",
        ),
        (
            {"grouping": [activity("https://x.example/algebra", COURSE_TYPE)]},
            None,
            "https://x.example/algebra",
        ),
        # As Moodle's plugin writes them: the site, then the course.
        (
            {
                "grouping": [
                    activity("https://moodle.example", "http://id.tincanapi.com/activitytype/lms"),
                    activity(
                        "https://moodle.example/course/view.php?id=3",
                        "http://id.tincanapi.com/activitytype/lms/course",
                    ),
                ]
            },
            None,
            "3",
        ),
        # As Open edX writes them.
        (
            {"parent": [activity("https://edx.example/course/course-v1:X+1+2", COURSE_TYPE)]},
            None,
            "course-v1:X+1+2",
        ),
        ({}, activity("https://x.example/courses/algebra", COURSE_TYPE), "algebra"),
        # Without a course: the first activity of the context, or the object.
        ({"grouping": [activity("https://x.example/au/7")]}, None, "https://x.example/au/7"),
        ({"parent": [activity("https://x.example/quiz")]}, None, "https://x.example/quiz"),
        ({"category": [activity(VIDEO)]}, None, "https://lms.example.org/questions/1"),
        # An object where a list is meant.
        ({"grouping": activity("https://x.example/au/7")}, None, "https://x.example/au/7"),
    ],
)
def test_the_unit_is_found_in_the_documented_order(
    context: Record, about: Record | None, unit: str, tmp_path: Path
) -> None:
    record = statement(context={"contextActivities": context} if context else None)
    record |= {"object": about} if about else {}
    assert event_of(tmp_path, record)["unit_id"] == unit


@pytest.mark.parametrize(
    ("verb", "kind", "event_type"),
    [
        (f"{VIDEO}/verbs/played", None, "video"),
        (f"{VIDEO}/verbs/seeked", "https://unheard.of/of", "video"),
        (f"{ADL}/verbs/terminated", f"{VIDEO}/activity-type/video", "video"),
        (f"{ADL}/verbs/answered", f"{ADL}/activities/cmi.interaction", "exercise"),
        (f"{ADL}/verbs/attempted", f"{ADL}/activities/assessment", "quiz"),
        (
            "http://id.tincanapi.com/verb/viewed",
            "http://activitystrea.ms/schema/1.0/page",
            "reading",
        ),
        (
            "https://w3id.org/xapi/acrossx/verbs/posted",
            "https://w3id.org/xapi/acrossx/activities/online-discussion",
            "forum",
        ),
        (
            "http://id.tincanapi.com/verb/replied",
            "http://id.tincanapi.com/activitytype/forum-topic",
            "forum",
        ),
        (f"{ADL}/verbs/launched", f"{ADL}/activities/course", "launched"),
        (f"{ADL}/verbs/experienced", None, "experienced"),
        ("http://id.tincanapi.com/verb/bookmarked/", None, "bookmarked"),
    ],
)
def test_the_kind_of_an_activity_or_the_verb_is_the_type(
    verb: str, kind: str | None, event_type: str, tmp_path: Path
) -> None:
    record = statement(verb, object=activity("https://lms.example.org/7", kind))
    assert event_of(tmp_path, record)["event_type"] == event_type


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"success": True, "score": {"scaled": 0.75}}, {"correct": "1", "score": "0.75"}),
        ({"success": False, "score": {"raw": 3, "max": 4}}, {"correct": "0", "score": "0.75"}),
        ({"score": {"scaled": 1, "raw": 3, "max": 4}}, {"score": "1"}),
        ({"score": {"raw": 3}}, {}),
        ({"score": {"raw": 0, "max": 0}}, {}),
        (
            {"completion": True, "duration": "PT1H1M30.50S"},
            {"completed": "1", "dwell_seconds": "3690.5"},
        ),
        (
            {"completion": False, "duration": "P1DT1S"},
            {"completed": "0", "dwell_seconds": "86401.0"},
        ),
        ({"duration": "PT0S"}, {"dwell_seconds": "0.0"}),
        ({"duration": "P2W"}, {"dwell_seconds": "1209600.0"}),
        ({"duration": "P1Y2M"}, {"dwell_seconds": str((365 + 60) * 86400.0)}),
        ({"extensions": {f"{VIDEO}/extensions/progress": 0.4}}, {"progress": "0.4"}),
        ({"response": '\\frac{1}{2}\t"', "score": {"scaled": -0.5}}, {"score": "-0.5"}),
        (None, {}),
    ],
)
def test_results(result: Record | None, expected: Record, tmp_path: Path) -> None:
    row = event_of(tmp_path, statement(result=result))
    found = {
        name: row[name]
        for name in ("correct", "score", "completed", "dwell_seconds", "progress")
        if row[name] is not None
    }
    assert found == expected


@pytest.mark.parametrize("speed", ["1.25x", "1.25", 1.25])
def test_the_speed_of_a_video(speed: str | float, tmp_path: Path) -> None:
    extensions = {f"{VIDEO}/extensions/speed": speed, f"{VIDEO}/extensions/session-id": "s"}
    row = event_of(tmp_path, statement(f"{VIDEO}/verbs/paused", context={"extensions": extensions}))
    assert (row["playback_speed"], row["session"]) == ("1.25", "s")


def test_the_store_knows_the_time_where_the_statement_does_not(tmp_path: Path) -> None:
    stored = {"stored": "2026-01-05T08:00:09.123Z"}
    assert event_of(tmp_path, statement(**stored))["time"] == TIME
    assert event_of(tmp_path, statement(timestamp=None, **stored))["time"] == stored["stored"]


def test_what_is_practised_is_an_objective_or_the_object(tmp_path: Path) -> None:
    objective = activity("https://x.example/objectives/algebra/1", f"{ADL}/activities/objective")
    other = {"contextActivities": {"other": [objective]}}
    assert event_of(tmp_path, statement(context=other))["component"] == "algebra/1"
    assert event_of(tmp_path, statement())["component"] == "https://lms.example.org/questions/1"
    block = activity("https://edx.example/xblock/block-v1:X+1+2+type@problem+block@3")
    row = event_of(tmp_path, statement(object=block))
    assert row["component"] == "block-v1:X+1+2+type@problem+block@3"


def test_a_session_of_cmi5(tmp_path: Path) -> None:
    """Reads what an LMS and an assignable unit write, in their order (cmi5, 9.3)."""
    publisher = "https://publisher.example/units/fractions"
    context = {
        "registration": "8b1c7f2e-0000-4000-8000-000000000001",
        "contextActivities": {
            "category": [activity(f"{CMI5}/context/categories/cmi5")],
            "grouping": [activity(publisher)],
        },
        "extensions": {f"{CMI5}/context/extensions/sessionid": "s1"},
    }
    counting = {
        **context,
        "contextActivities": {
            **context["contextActivities"],  # type: ignore[dict-item]
            "category": [
                activity(f"{CMI5}/context/categories/cmi5"),
                activity(f"{CMI5}/context/categories/moveon"),
            ],
        },
    }
    unit = activity("https://lms.example.org/au/1")
    results: list[tuple[str, Record | None]] = [
        (f"{ADL}/verbs/launched", None),
        (f"{ADL}/verbs/initialized", None),
        (f"{ADL}/verbs/completed", {"completion": True, "duration": "PT10M"}),
        (f"{ADL}/verbs/passed", {"success": True, "score": {"scaled": 0.9}, "duration": "PT10M"}),
        (f"{ADL}/verbs/failed", {"success": False, "duration": "PT1M"}),
        ("https://w3id.org/xapi/adl/verbs/satisfied", None),
        (f"{ADL}/verbs/terminated", {"duration": "PT12M"}),
        ("https://w3id.org/xapi/adl/verbs/abandoned", {"duration": "PT5M"}),
        ("https://w3id.org/xapi/adl/verbs/waived", {"success": True, "completion": True}),
    ]
    rows, left_out = read(
        tmp_path,
        *(
            statement(verb, object=unit, result=result, context=counting if result else context)
            for verb, result in results
        ),
    )
    assert left_out == {}
    assert [
        (row["event_type"], row["completed"], row["correct"], row["dwell_seconds"]) for row in rows
    ] == [
        ("launched", None, None, None),
        ("initialized", None, None, None),
        ("completed", "1", None, "600.0"),
        ("passed", None, "1", "600.0"),
        ("failed", None, "0", "60.0"),
        ("satisfied", "1", None, None),
        ("terminated", None, None, "720.0"),
        ("abandoned", None, None, "300.0"),
        ("waived", "1", "1", None),
    ]
    assert {row["unit_id"] for row in rows} == {publisher}
    assert {row["session"] for row in rows} == {"s1"}
    assert {row["registration"] for row in rows} == {context["registration"]}
    assert rows[3]["score"] == "0.9"


def test_statements_that_ralph_makes_of_open_edx(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Reads what a converter in use writes: the player's events, and pages that are left."""
    course = "course-v1:X+algebra+2026"
    page = f"https://edx.example.org/courses/{course}/courseware/"
    video: Record = {"id": "0123456789abcdef0123456789abcdef", "code": "html5", "duration": 600.0}
    payloads: dict[str, Record | str] = {
        "load_video": video,
        "play_video": video | {"currentTime": 1.5},
        "pause_video": video | {"currentTime": 61.5},
        "seek_video": video | {"old_time": 61.5, "new_time": 300.0, "type": "onSlideSeek"},
        "stop_video": video | {"currentTime": 600.0},
        "page_close": "{}",
    }
    events = [
        {
            "username": "anna",
            "ip": "192.0.2.1",
            "agent": "Mozilla/5.0",
            "host": "edx.example.org",
            "referer": page,
            "accept_language": "en",
            "session": "a" * 32,
            "page": page,
            "name": kind,
            "event_type": kind,
            "event_source": "browser",
            "event": payload,
            "time": f"2026-01-05T08:00:0{number}.000000+00:00",
            "context": {"course_id": course, "org_id": "X", "user_id": 7, "path": "/event"},
        }
        for number, (kind, payload) in enumerate(payloads.items())
    ]
    programs = find_programs(request.config.cache.mkdir("ralph"))
    records = convert(programs, events, "https://edx.example.org")

    rows, left_out = read(tmp_path, *records)

    assert left_out == {}
    assert [row["event_type"] for row in rows] == ["video"] * 5 + ["reading"]
    assert {(row["learner_id"], row["unit_id"]) for row in rows} == {("7", course)}
    assert [row["time"] for row in rows] == [f"2026-01-05T08:00:0{second}Z" for second in range(6)]


def test_statements_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    robot = {"extensions": {f"{VIDEO}/extensions/user-agent": "Googlebot/2.1"}}
    plan = {"objectType": "SubStatement", "actor": {}, "verb": {}, "object": activity("x")}
    rows, left_out = read(
        tmp_path,
        statement(),
        statement(f"{ADL}/verbs/voided", object={"objectType": "StatementRef", "id": "5a5c"}),
        statement("http://activitystrea.ms/schema/1.0/plan", object=plan),
        statement("https://w3id.org/xapi/adl/verbs/logged-in"),
        statement("https://w3id.org/xapi/adl/verbs/logged-out"),
        statement(f"{ADL}/verbs/registered"),
        statement("http://id.tincanapi.com/verb/unregistered"),
        statement("tag:mastery,2026:xapi/verbs/predicted"),
        statement(context=robot),
        statement(actor={"mbox": "mailto:t@example.org", "name": "Test Student"}),
    )
    assert len(rows) == 1
    assert left_out == {
        "voiding others (what they void counts where the log has it)": 1,
        "plans (sub-statements)": 1,
        "logins and enrolments": 4,
        "predictions of Mastery": 1,
        "robots": 1,
        "test users": 1,
    }


def test_names_of_several_systems_are_told(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    pages = ["https://a.example", None, "https://b.example", "https://a.example"]
    accounts = [{"name": "anna", **({"homePage": page} if page else {})} for page in pages]
    records = [statement(actor={"account": account}) for account in accounts]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")

    rows, hints = read_file(path)
    assert [row["learner_id"] for row in rows] == ["anna"] * 4
    ((text, count),) = hints.items()
    assert text.startswith("events whose actor.account.homePage is not that of the first")
    assert count == 1

    template = {"template": "{actor.account.homePage} {actor.account.name}"}
    mapping = mapping_of("xapi").model_dump(by_alias=True) | {"columns": {"learner_id": template}}
    (chunk,) = read_chunks(
        LogFile(str(path), "jsonl", 0), ["learner_id"], EventMapping.model_validate(mapping)
    )
    assert not isinstance(chunk, Problem)
    assert chunk.frame["learner_id"].to_list() == [f"{pages[row]} anna" for row in (0, 2, 3)]
