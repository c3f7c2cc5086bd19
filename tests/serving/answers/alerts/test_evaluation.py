"""Whom rules tell about: capacity, cool-down, quiet hours, snoozes, digests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.event import listen
from sqlalchemy.orm import Session

from serving.answers.alerts import evaluation
from serving.answers.alerts.evaluation import AlertsError, check_rules, run_alerts, try_alerts
from serving.answers.alerts.notices import MOST_ROWS
from serving.answers.alerts.selection import NEAR_MISSES, Decision
from serving.answers.delivery.notice import Notice
from serving.answers.tables import Action, CurrentAnswer, Learner, ModelVersion
from tests.serving.answers.alerts.told import (
    DAY,
    MONDAY,
    alerts,
    learners,
    messages,
    near,
    score,
    settings_with,
)

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = 7 * DAY
FIVE = {(f"learner-{place}", "unit"): 0.5 + place / 10 for place in range(5)}


def test_a_capacity_goes_to_the_greatest_need_first_and_starts_anew_each_week(
    database: Engine,
) -> None:
    settings = settings_with({"capacity": "2 per week", "cool_down": "15d"})
    told = {}
    for day in (0, 1, 6, 7, 13, 14, 15):
        score(database, FIVE, as_of=MONDAY + day * DAY)
        (call,) = run_alerts(database, settings, MONDAY + day * DAY)
        told[day] = learners(call)

    assert told == {
        0: ["learner-4", "learner-3"], 1: [], 6: [],  # until Sunday
        7: ["learner-2", "learner-1"], 13: [],
        14: ["learner-0"],  # the cool-down of the neediest ends a day later, and there is room
        15: ["learner-4"],
    }  # fmt: skip
    assert near(call) == {
        "learner-3": "capacity", "learner-2": "cool-down", "learner-1": "cool-down",
        "learner-0": "cool-down",
    }  # fmt: skip


def test_each_group_may_have_its_own_capacity(database: Engine) -> None:
    groups = {"learner-0": "b", "learner-1": "b", "learner-2": "a", "learner-3": "a"}
    score(database, FIVE, groups=groups)
    settings = settings_with({"capacity": "1 per week and group"})
    (call,) = run_alerts(database, settings, MONDAY)
    assert learners(call) == ["learner-4", "learner-3", "learner-1"]
    assert near(call) == {"learner-2": "capacity", "learner-0": "capacity"}

    score(database, FIVE | {("learner-5", "unit"): 0.99}, groups=groups | {"learner-5": "a"})
    (call,) = run_alerts(database, settings, MONDAY + DAY)
    assert learners(call) == []


def test_a_week_begins_in_the_time_zone(database: Engine) -> None:
    settings = settings_with({"capacity": "1 per week", "cool_down": "0h"})
    score(database, FIVE)
    midnight = datetime(2026, 3, 9, tzinfo=BERLIN)
    assert learners(run_alerts(database, settings, MONDAY)[0]) == ["learner-4"]
    score(database, FIVE, as_of=MONDAY + DAY)
    before = midnight - timedelta(seconds=1)
    assert learners(run_alerts(database, settings, before)[0]) == []
    assert learners(run_alerts(database, settings, midnight)[0]) == ["learner-4"]


def test_quiet_hours_hold_messages_and_count_for_the_week_in_which_they_leave(
    database: Engine,
) -> None:
    score(database, FIVE)
    settings = settings_with(
        {"capacity": "2 per week", "quiet_hours": "20:00-07:00", "quiet_weekends": True}
    )
    friday = datetime(2026, 3, 27, 21, 0, tzinfo=BERLIN)
    monday = datetime(2026, 3, 30, 7, 0, tzinfo=BERLIN)  # summer time has begun in between
    (call,) = run_alerts(database, settings, friday)
    assert learners(call) == ["learner-4", "learner-3"]
    assert {message.not_before for message in messages(database)} == {monday}
    assert {alert.at for alert in alerts(database)} == {monday}

    saturday = run_alerts(database, settings, friday + DAY)
    assert near(saturday[0]) == {
        "learner-4": "cool-down", "learner-3": "cool-down", "learner-2": "capacity",
        "learner-1": "capacity", "learner-0": "capacity",
    }  # fmt: skip


def test_a_learner_is_told_of_once_with_the_unit_in_greatest_need(database: Engine) -> None:
    score(database, {("ann", "unit-a"): 0.6, ("ann", "unit-b"): 0.9, ("ben", "unit-a"): 0.7})
    (call,) = run_alerts(database, settings_with(), MONDAY)
    assert [(item.learner_id, item.unit_id, item.units) for item in call.decision.told] == [
        ("ann", "unit-b", 2), ("ben", "unit-a", 1),
    ]  # fmt: skip
    assert [row.reasons for row in call.messages[0].rows] == [["1 more unit fits the rule"], []]

    score(database, {("ann", "unit-a"): 0.99}, as_of=MONDAY + DAY)
    (call,) = run_alerts(database, settings_with(), MONDAY + DAY)
    assert near(call) == {"ann": "cool-down", "ben": "cool-down"}
    (other,) = run_alerts(database, settings_with({"name": "other"}), MONDAY + DAY)
    assert learners(other) == ["ann", "ben"]


def test_without_a_cool_down_the_same_scoring_still_tells_once(database: Engine) -> None:
    settings = settings_with({"cool_down": "0h", "capacity": "unlimited"})
    score(database, {("ann", "unit-a"): 0.6, ("ann", "unit-b"): 0.9})
    assert learners(run_alerts(database, settings, MONDAY)[0]) == ["ann"]
    assert learners(run_alerts(database, settings, MONDAY + DAY)[0]) == []
    score(database, {("ann", "unit-a"): 0.6}, as_of=MONDAY + DAY)
    assert near(run_alerts(database, settings, MONDAY + DAY)[0]) == {"ann": "cool-down"}
    score(database, {("ann", "unit-b"): 0.9}, as_of=MONDAY + DAY)
    assert learners(run_alerts(database, settings, MONDAY + DAY)[0]) == ["ann"]


def test_learners_whom_somebody_knows_of_are_left_in_peace(database: Engine) -> None:
    score(database, FIVE)
    with Session(database) as session, session.begin():
        for place, (kind, at) in enumerate((
            ("helped", MONDAY - DAY), ("called", MONDAY - 15 * DAY), ("snooze", MONDAY - DAY),
        )):  # fmt: skip
            session.add(
                Action(learner_id=f"learner-{place}", unit_id="other", kind=kind, at=at,
                       user="ada", as_of=at, version_id=1, predicted_class=None)
            )  # fmt: skip
        for place, until in ((2, MONDAY + DAY), (3, MONDAY - DAY)):
            session.execute(
                update(Learner).where(Learner.learner_id == f"learner-{place}")
                .values(snoozed_until=until)
            )  # fmt: skip

    (call,) = run_alerts(
        database, settings_with(), MONDAY, is_left_out=lambda learner: learner == "learner-4"
    )
    assert learners(call) == ["learner-3", "learner-1"]
    assert near(call) == {
        "learner-4": "left out", "learner-2": "snoozed", "learner-0": "somebody acted"
    }  # fmt: skip
    assert call.decision.reasons == {"left out": 1, "snoozed": 1, "somebody acted": 1}


def test_only_new_tells_of_classes_that_changed_in_the_newest_scoring(database: Engine) -> None:
    settings = settings_with({"when": 'class == "low"', "only_new": True, "cool_down": "0h"})
    score(database, {("stays", "unit"): 0.8}, since=MONDAY - DAY, previous_class="middle")
    score(database, {("first", "unit"): 0.8}, since=MONDAY)
    score(database, {("fell", "unit"): 0.9}, since=MONDAY, previous_class="middle")
    assert learners(run_alerts(database, settings, MONDAY)[0]) == ["fell", "first"]

    score(database, {("stays", "unit"): 0.9}, as_of=MONDAY + DAY, since=MONDAY)
    assert learners(run_alerts(database, settings, MONDAY + DAY)[0]) == []


def test_days_count_up_to_the_newest_scoring_also_for_older_answers(database: Engine) -> None:
    score(database, {("gone", "unit"): 0.6}, last_event_at=MONDAY - 10 * DAY)
    settings = settings_with({"when": "days_since_visit >= 14"})
    assert learners(run_alerts(database, settings, MONDAY + 300 * DAY)[0]) == []
    score(database, {("other", "unit"): 0.6}, as_of=MONDAY + 4 * DAY)
    assert learners(run_alerts(database, settings, MONDAY + 4 * DAY)[0]) == ["gone"]


def test_a_rule_is_about_its_units_and_groups(database: Engine) -> None:
    lows = {("ann", "a"): 0.6, ("ben", "b"): 0.7, ("cid", "a"): 0.8, ("dora", "a"): 0.9}
    score(database, lows, groups={"ann": "1", "ben": "1", "cid": "2"})
    settings = settings_with({"units": ["a", "aa"], "groups": ["1"]})
    (call,) = run_alerts(database, settings, MONDAY)
    assert learners(call) == ["ann"]
    assert call.remarks == ["there is no unit aa; did you mean a?"]

    when = 'p(low) > 0.1 and (unit == "a" or "Ax" == group or region != "north")'
    (call,) = try_alerts(database, settings_with({"when": when}), MONDAY)
    assert call.remarks == ["there is no group Ax", "there is no region north"]


@pytest.mark.parametrize(
    ("digest", "subjects"),
    [
        ("per_rule", ["call: 3 learners"]),
        ("per_group", ["call · Group 1: 2 learners", "call: 1 learner"]),
        ("per_learner", ["call: 1 learner"] * 3),
    ],
)
def test_a_digest_says_what_a_message_is(
    database: Engine, digest: str, subjects: list[str]
) -> None:
    lows = {("ann", "a"): 0.9, ("ben", "a"): 0.8, ("cid", "a"): 0.7}
    score(database, lows, groups={"ann": "1", "cid": "1"})
    settings = settings_with({"digest": digest, "to": ["mail", "file"]})
    run_alerts(database, settings, MONDAY)

    for channel in ("mail", "file"):
        sent = [one for one in messages(database) if one.channel == channel]
        assert [one.payload["subject"] for one in sent] == subjects
        assert sorted(name for one in sent for name in one.learner_ids) == ["ann", "ben", "cid"]
    assert len({one.key for one in messages(database)}) == 2 * len(subjects)
    assert not [one.key for one in messages(database) if "ann" in one.key]
    keys = {alert.key for alert in alerts(database)}
    assert {one.key.rpartition("/")[0] for one in messages(database)} == keys


def test_many_learners_are_several_messages(database: Engine) -> None:
    score(database, {(f"learner-{place:03}", "unit"): 0.9 for place in range(MOST_ROWS + 1)})
    (call,) = run_alerts(database, settings_with({"capacity": "unlimited"}), MONDAY)
    assert [(one.subject, len(one.rows)) for one in call.messages] == [
        (f"call: {MOST_ROWS} learners (1/2)", MOST_ROWS), ("call: 1 learner (2/2)", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "subject", "text", "reason"),
    [
        ("en", "call: 2 learners",
         "These learners fit the rule “call” as of March 2, 2026, the greatest need first. 1 more "
         "learner fits it, beyond the capacity that the rule has. A model's estimate: look for "
         "yourself before you act.", "few visits"),
        ("de", "call: 2 Lernende",
         "Diese Personen erfüllen mit Stand 2. März 2026 die Regel „call“, die mit dem größten "
         "Bedarf zuerst. 1 weitere Person erfüllt sie, mehr als die Kapazität der Regel zulässt. "
         "Das schätzt ein Modell: Sehen Sie selbst nach, bevor Sie handeln.", "wenige Besuche"),
        ("zh", "call：2 名学员",
         "截至2026年3月2日，以下学员符合规则“call”，最需要帮助的排在最前。 另有 1 名学员也符合，"
         "但超出了该规则的容量。 这是模型的估计：行动之前，请亲自查看。", "few visits"),
    ],
)  # fmt: skip
def test_messages_speak_the_language_of_the_settings(
    database: Engine, language: str, subject: str, text: str, reason: str
) -> None:
    said = {"text": {"en": "few visits", "de": "wenige Besuche"}}
    lows = {("ann", "a"): 0.91, ("ben", "a"): 0.8, ("cid", "a"): 0.7}
    score(database, lows, reasons=[said, {"feature": "x"}])
    link = "https://board.example/learners/{learner_id}?unit={unit_id}"
    settings = settings_with({"capacity": "2 per day"}, language=language, link=link)
    run_alerts(database, settings, MONDAY)

    (message,) = messages(database)
    notice = Notice.model_validate(message.payload)
    assert (notice.subject, notice.text, notice.language) == (subject, text, language)
    ann = notice.rows[0]
    assert (ann.learner, ann.unit, ann.class_, ann.probability) == ("Ann", "A", "low", 0.91)
    assert (ann.reasons, ann.since) == ([reason], MONDAY)
    assert ann.link == "https://board.example/learners/ann?unit=a"


def test_messages_say_how_sure_and_why(database: Engine) -> None:
    said = [{"text": {"en": "few exercises finished", "de": "wenige Aufgaben"}}]
    score(
        database, {("ann", "a"): 0.91}, reasons=said, prediction_set=["low", "middle"],
        answer_text="low or middle", unfamiliar="sequence", decisions=["call"],
    )  # fmt: skip
    score(database, {("ben", "a"): 0.8}, prediction_set=["low"], answer_text="low", decisions=[])
    with Session(database) as session, session.begin():
        call = {"name": "call", "class": "low", "threshold": 0.4, "precision": None}
        session.execute(update(ModelVersion).values(trust={"decisions": [call]}))
    settings = settings_with({"when": "decision.call and unfamiliar"}, language="de")
    run_alerts(database, settings, MONDAY)

    (message,) = messages(database)
    [row] = Notice.model_validate(message.payload).rows
    assert row.reasons == [
        "niedrig oder mittel",
        "wenige Aufgaben",
        "anders als alles, was das Modell kennt: der Verlauf der Ereignisse",
    ]
    with pytest.raises(AlertsError, match=r"(?s)found cal; did you mean call"):
        run_alerts(database, settings_with({"when": "decision.cal"}), MONDAY)


def test_a_message_gives_the_probability_that_its_rule_asks_about(database: Engine) -> None:
    score(database, {("ann", "a"): 0.4}, predicted_class="middle", probabilities=[0.4, 0.5, 0.1])
    for when, said in (
        ("p(low) > 0.3", ("low", 0.4, None)),
        ("p(low) > 0.3 and p(high) < 0.2", ("middle", 0.5, MONDAY)),
        ("need > 0.1", ("middle", 0.5, MONDAY)),
    ):
        (call,) = try_alerts(database, settings_with({"when": when}), MONDAY)
        (row,) = call.messages[0].rows
        assert (row.class_, row.probability, row.since) == said


def test_versions_with_other_classes_and_numbers_are_told_apart(database: Engine) -> None:
    score(database, {("old", "a"): 0.9}, classes=["low", "high"], version=1)
    score(database, {("new", "a"): 0.9}, classes=["high", "low"], version=2)
    (call,) = run_alerts(database, settings_with(), MONDAY)
    assert [(row.learner_id, row.class_, row.probability) for row in call.messages[0].rows] == [
        ("old", "low", 0.9), ("new", "low", 0.9),
    ]  # fmt: skip


def test_a_predicted_number_is_said(database: Engine) -> None:
    score(database, {("ann", "a"): 0.5}, classes=["x", "y"], version=1)
    with Session(database) as session, session.begin():
        session.get_one(ModelVersion, 1).classes = []
    score(database, {("ann", "a"): 0.5}, classes=["x", "y"], predicted_class=None,
          probabilities=[], prediction=41.23456)  # fmt: skip
    settings = settings_with({"when": "prediction < 50"}, language="de")
    (call,) = run_alerts(database, settings, MONDAY)
    (row,) = call.messages[0].rows
    assert (row.class_, row.probability, row.reasons) == (None, None, ["vorhergesagt: 41,235"])


def test_a_test_says_what_a_run_would_do_and_writes_nothing(database: Engine) -> None:
    score(database, FIVE)
    settings = settings_with({"capacity": "2 per week"}, {"name": "other", "units": ["x"]})
    tried = try_alerts(database, settings, MONDAY)
    assert (messages(database), alerts(database)) == ([], [])
    assert tried == run_alerts(database, settings, MONDAY)
    assert (len(messages(database)), len(alerts(database))) == (1, 2)


def test_a_rule_that_fits_no_model_is_an_error_before_anything_is_told(database: Engine) -> None:
    score(database, FIVE)
    settings = settings_with({}, {"name": "second", "when": "p(lwo) > 0.5"})
    with pytest.raises(AlertsError) as caught:
        run_alerts(database, settings, MONDAY)
    assert str(caught.value) == (
        "alerts.rules[1].when, rule second: in the condition\n"
        "    p(lwo) > 0.5\n"
        "      ^\n"
        "expected one of the model's classes, found lwo; did you mean low?"
    )
    assert messages(database) == []

    with pytest.raises(AlertsError, match=r"\(call, second\), found cal; did you mean call\?"):
        try_alerts(database, settings, MONDAY, rules=["cal"])
    with pytest.raises(AlertsError, match=r"rules\[0\].only_new, rule call: expected false"):
        check_rules(settings_with({"when": "need > 0", "only_new": True}), [], has_numbers=True)


def test_rules_may_be_chosen_and_without_answers_nobody_is_told(database: Engine) -> None:
    settings = settings_with({}, {"name": "second"})
    assert run_alerts(database, settings, MONDAY) == []
    score(database, FIVE)
    (told,) = run_alerts(database, settings, MONDAY, rules=["second"])
    assert told.decision.rule.name == "second"
    assert {alert.rule for alert in alerts(database)} == {"second"}


def test_the_number_of_statements_does_not_depend_on_the_number_of_learners(
    database: Engine,
) -> None:
    statements: list[str] = []
    listen(database, "before_cursor_execute", lambda *event: statements.append(event[2]))
    settings = settings_with({"capacity": "unlimited", "digest": "per_learner"})
    counts = []
    for learner_count in (2, 60):
        score(
            database, {(f"{learner_count}-{place}", "unit"): 0.9 for place in range(learner_count)}
        )
        statements.clear()
        (call,) = run_alerts(database, settings, MONDAY)
        assert len(call.messages) == learner_count
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_near_misses_are_kept_for_each_reason_and_all_are_counted(database: Engine) -> None:
    lows = {(f"snoozed-{place:02}", "unit"): 0.9 for place in range(25)}
    score(database, lows | {("late", "unit"): 0.6, ("later", "unit"): 0.55})
    with Session(database) as session, session.begin():
        snoozed = update(Learner).where(Learner.learner_id.like("snoozed%"))
        session.execute(snoozed.values(snoozed_until=MONDAY + DAY))

    (call,) = try_alerts(database, settings_with({"capacity": "1 per week"}), MONDAY)
    assert call.decision.reasons == {"snoozed": 25, "capacity": 1}
    assert [*near(call).values()].count("snoozed") == NEAR_MISSES
    assert near(call)["later"] == "capacity"


def test_a_learner_who_is_erased_meanwhile_is_not_told_about(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(database, FIVE)
    original = evaluation.decide

    def decide(session: Session, *arguments: Any) -> Decision:
        decision = original(session, *arguments)
        session.execute(delete(CurrentAnswer).where(CurrentAnswer.learner_id == "learner-4"))
        return decision

    monkeypatch.setattr(evaluation, "decide", decide)
    run_alerts(database, settings_with({"capacity": "2 per week"}), MONDAY)
    assert [alert.learner_id for alert in alerts(database)] == ["learner-3"]
    assert [message.learner_ids for message in messages(database)] == [["learner-3"]]
