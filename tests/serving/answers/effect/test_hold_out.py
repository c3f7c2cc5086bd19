"""Who is held out: of the alerts and of the worklist, for how long, and who never is."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.orm import Session

from components.contracts.left_out import LeftOutList
from components.errors import ConfigError
from serving.answers.alerts.evaluation import run_alerts, try_alerts
from serving.answers.learner_record import count_rows, erase_rows, export_rows
from serving.answers.settings import AnswersSettings
from serving.answers.tables import Action, Assignment, CurrentAnswer, Learner
from tests.serving.answers.alerts.told import (
    DAY,
    MONDAY,
    learners,
    messages,
    near,
    score,
    settings_with,
)

MANY = {(f"learner-{place:03}", f"unit-{place % 2}"): 0.5 + place % 10 / 20 for place in range(200)}


def settings_holding(*rules: dict[str, Any], share: float = 0.1, **effect: Any) -> AnswersSettings:
    """Returns settings with rules of any capacity, and a share that is held out."""
    unlimited = [{"capacity": "unlimited"} | rule for rule in rules or [{}]]
    settings = settings_with(*unlimited)
    said = {"effect": {"hold_out": share, **effect}}
    return AnswersSettings.model_validate(settings.model_dump(exclude={"board"}) | said)


def lots(engine: Engine) -> list[Assignment]:
    """Returns all lots, in the order in which they were drawn."""
    with Session(engine) as session:
        return [*session.scalars(select(Assignment).order_by(Assignment.at, Assignment.learner_id))]


def held_out(engine: Engine) -> set[str]:
    """Returns who was ever held out."""
    return {lot.learner_id for lot in lots(engine) if lot.held_out}


def test_a_share_of_those_who_would_be_told_is_not(database: Engine) -> None:
    score(database, MANY, groups={name: "g" for name, _ in MANY})
    settings = settings_holding()
    (tried,) = try_alerts(database, settings, MONDAY)
    assert lots(database) == []  # a test writes nothing

    (call,) = run_alerts(database, settings, MONDAY)
    drawn = lots(database)
    assert learners(call) == learners(tried)
    assert call.decision.reasons == {"held out": 20}
    assert near(call) == {}  # nobody who is held out is named anywhere
    assert {*learners(call)} | held_out(database) == {name for name, _ in MANY}
    told = {name for message in messages(database) for name in message.learner_ids}
    assert told == {*learners(call)}

    strata = Counter(lot.stratum for lot in drawn)
    assert {*strata} == {f"unit-{unit} {bin_}" for unit in (0, 1)
                         for bin_ in ("0.4-0.6", "0.6-0.8", "0.8-1")}  # fmt: skip
    out = Counter(lot.stratum for lot in drawn if lot.held_out)
    assert all(abs(out[name] - Fraction(1, 10) * count) < 1 for name, count in strata.items())
    one = drawn[0]
    assert (one.at, one.until, one.as_of) == (MONDAY, MONDAY + 28 * DAY, MONDAY)
    assert (one.version_id, one.rule, one.share, one.group_id) == (1, "call", 0.1, "g")
    assert one.probability == MANY[one.learner_id, one.unit_id]


def test_a_lot_holds_for_a_time_and_is_not_drawn_again_at_once(database: Engine) -> None:
    settings = settings_holding({"cool_down": "7d"}, share=0.5, keep="14d")
    score(database, MANY)
    run_alerts(database, settings, MONDAY)
    first = held_out(database)
    assert len(first) == 100

    score(database, MANY, as_of=MONDAY + 7 * DAY)
    (call,) = run_alerts(database, settings, MONDAY + 7 * DAY)
    assert len(lots(database)) == 200  # named or not as before
    assert {*learners(call)}.isdisjoint(first)
    assert len(learners(call)) == 100

    score(database, MANY, as_of=MONDAY + 14 * DAY)
    (call,) = run_alerts(database, settings, MONDAY + 14 * DAY)
    again = {lot.learner_id for lot in lots(database) if lot.at > MONDAY}
    assert again == {name for name, _ in MANY} - first
    assert {*learners(call)} > first  # named for as long as they were held out

    score(database, MANY, as_of=MONDAY + 28 * DAY)
    run_alerts(database, settings, MONDAY + 28 * DAY)
    assert {lot.learner_id for lot in lots(database) if lot.at == MONDAY + 28 * DAY} >= first


def test_a_learner_is_held_out_of_all_rules_and_units(database: Engine) -> None:
    both = {(name, unit): low for (name, _), low in MANY.items() for unit in ("unit-0", "unit-1")}
    score(database, both)
    settings = settings_holding({}, {"name": "other", "units": ["unit-1"]}, share=0.5)
    tried = try_alerts(database, settings, MONDAY)
    call, other = run_alerts(database, settings, MONDAY)
    assert [learners(one) for one in tried] == [learners(call), learners(other)]
    assert {*learners(call)} == {*learners(other)}
    assert len(lots(database)) == 200


def test_a_place_of_somebody_held_out_goes_to_the_next(database: Engine) -> None:
    groups = {name: f"group-{place % 2}" for place, (name, _) in enumerate(MANY)}
    score(database, MANY, groups=groups)
    settings = settings_holding({"capacity": "20 per week and group"}, share=0.5)
    (call,) = run_alerts(database, settings, MONDAY)
    assert Counter(groups[name] for name in learners(call)) == {"group-0": 20, "group-1": 20}
    left = call.decision.reasons
    assert len(lots(database)) == 40 + left["held out"]
    assert left["capacity"] == 200 - len(lots(database))


def test_who_must_be_told_is_never_held_out(database: Engine, tmp_path: Path) -> None:
    score(database, MANY)
    listed = LeftOutList.empty().adding(["learner-001"], "opted out").write(tmp_path)
    settings = settings_holding(
        {}, {"name": "urgent", "when": "p(low) >= 0.9", "must_tell": True},
        share=0.5, exempt='unit == "unit-0" and p(low) >= 0.8', opt_out=str(listed),
    )  # fmt: skip
    call, urgent = run_alerts(database, settings, MONDAY)
    never = {
        name
        for (name, unit), low in MANY.items()
        if low >= 0.9 or (unit == "unit-0" and low >= 0.8) or name == "learner-001"
    }
    drawn = {lot.learner_id for lot in lots(database)}
    assert len(never) > 40
    assert drawn == {name for name, _ in MANY} - never
    assert {*learners(call)} >= never
    assert {*learners(urgent)} == {name for (name, _), low in MANY.items() if low >= 0.9}


def test_who_becomes_exempt_is_named_at_once_and_stays_in_the_arm(database: Engine) -> None:
    score(database, MANY)
    settings = settings_holding(exempt="p(low) >= 0.98")
    run_alerts(database, settings, MONDAY)
    worse = sorted(held_out(database))[:3]
    score(database, {key: 0.99 for key in MANY if key[0] in worse}, as_of=MONDAY + DAY)
    (call,) = run_alerts(database, settings, MONDAY + DAY)
    assert sorted(learners(call)) == worse
    released = {lot.learner_id: lot for lot in lots(database) if lot.released_at is not None}
    assert sorted(released) == worse
    assert all(lot.held_out and lot.released_at == MONDAY + DAY for lot in released.values())

    score(database, {key: 0.7 for key in MANY if key[0] in worse}, as_of=MONDAY + 20 * DAY)
    run_alerts(database, settings, MONDAY + 20 * DAY)
    assert len([lot for lot in lots(database) if lot.learner_id in worse]) == 3


def test_lots_for_the_worklist_are_about_whoever_is_on_it(database: Engine) -> None:
    score(database, MANY)
    with Session(database) as session, session.begin():
        session.execute(
            insert(Action).values(
                learner_id="learner-000", unit_id="unit-0", kind="called", user="ada",
                at=MONDAY - DAY, as_of=MONDAY, version_id=1,
            )
        )  # fmt: skip
        asleep = update(Learner).where(Learner.learner_id == "learner-001")
        session.execute(asleep.values(snoozed_until=MONDAY + DAY))
    settings = settings_holding({"when": "p(low) >= 0.9"}, who="need >= 0.6")
    run_alerts(database, settings, MONDAY, is_left_out=lambda learner: learner == "learner-009")
    with Session(database) as session:
        needy = {*session.scalars(
            select(CurrentAnswer.learner_id).where(CurrentAnswer.need >= 0.6)
        )}  # fmt: skip
    assert {lot.learner_id for lot in lots(database)} == (
        needy - {"learner-000", "learner-001", "learner-009"}
    )
    assert {lot.rule for lot in lots(database)} == {""}


def test_predicted_numbers_are_stratified_by_need(database: Engine) -> None:
    score(database, {(f"l-{place}", "u"): 0.5 for place in range(20)}, probabilities=[],
          predicted_class=None, prediction=40.0, need=0.6)  # fmt: skip
    run_alerts(database, settings_holding({"when": "need > 0.5"}), MONDAY)
    drawn = lots(database)
    assert {(lot.stratum, lot.probability) for lot in drawn} == {("u 0.6-0.8", 0.6)}
    assert len(held_out(database)) == 2


def test_lots_of_a_learner_are_shown_and_erased(database: Engine) -> None:
    score(database, MANY)
    run_alerts(database, settings_holding(), MONDAY)
    assert count_rows(database, "learner-007")["assignments"] == 1
    (row,) = export_rows(database, "learner-007")["assignments"]
    assert row["stratum"].startswith("unit-1 ")
    assert erase_rows(database, "learner-007")["assignments"] == 1
    assert "learner-007" not in {lot.learner_id for lot in lots(database)}


def test_the_share_stays_exact_after_an_erasure(database: Engine) -> None:
    settings = settings_holding()
    score(database, {("a-first", "u"): 0.5} | {(f"a{place}", "u"): 0.5 for place in range(9)})
    run_alerts(database, settings, MONDAY)
    assert len(held_out(database)) == 1
    erase_rows(database, "a-first")
    score(database, {(f"b{place}", "u"): 0.5 for place in range(10)}, as_of=MONDAY + DAY)
    run_alerts(database, settings, MONDAY + DAY)
    later = [lot for lot in lots(database) if lot.at > MONDAY]
    assert len(later) == 10
    assert sum(lot.held_out for lot in later) == 1


@pytest.mark.parametrize(
    ("effect", "error"),
    [
        ({"hold_out": 0.125}, "expected whole percents from 0 to 0.5"),
        ({"hold_out": 0.6}, "expected whole percents from 0 to 0.5"),
        ({"exempt": "p(low) >"}, "expected a name such as need"),
        ({"keep": "0d"}, "expected a time above 0"),
        ({"cost_per_action": {"phoned": 1}}, "phoned"),
    ],
)
def test_settings_are_checked(effect: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        AnswersSettings.model_validate({"effect": effect})


def test_somebody_has_to_be_named() -> None:
    for who, is_fine in (("need > 0.5", True), (None, False)):
        values = {"effect": {"hold_out": 0.1, "who": who}}
        if is_fine:
            AnswersSettings.model_validate(values)
        else:
            with pytest.raises(ValueError, match="expected a condition, or a rule of alerts"):
                AnswersSettings.model_validate(values)


def test_a_missing_list_of_opt_outs_is_no_empty_one(database: Engine) -> None:
    score(database, MANY)
    settings = settings_holding(opt_out="/nowhere/no-hold-out.json")
    with pytest.raises(ConfigError, match=r"effect\.opt_out: expected the list of learners"):
        run_alerts(database, settings, MONDAY)
    assert messages(database) == []
